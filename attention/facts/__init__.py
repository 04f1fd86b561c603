"""Facts of model families, read from their configurations."""
