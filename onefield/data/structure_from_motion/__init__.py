"""From plain photos or a video to a scene with camera poses; the reconstruction itself is pycolmap's."""
