"""Video files: reading what others wrote, writing files that appear whole."""
