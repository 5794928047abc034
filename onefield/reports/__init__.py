"""Pages that tell what runs did: one file each, readable without a network."""
