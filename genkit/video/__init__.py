"""A generated video: its recipe, its sheet, its place on the disk."""
