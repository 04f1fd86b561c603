"""Facts of the model classes of diffusers: a family of model classes is one file."""
