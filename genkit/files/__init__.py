"""Video files: reading untrusted ones, and writing files as a whole."""
