"""The seams of pipelines that are made of blocks: diffusers' modular pipelines."""
