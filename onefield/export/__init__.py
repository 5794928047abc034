"""Results to files that other programs read; one file a format."""
