"""Training of the embedded models: clips, losses, optimizers, checkpoints and a running evaluation."""
