"""Fields to triangle meshes: extraction, clean-up, colours, report, preview."""
