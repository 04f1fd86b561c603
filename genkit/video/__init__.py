"""A generated video: its recipe, its contact sheet, its files."""
