"""Facts of the pipelines of diffusers: a family is one file."""
