"""How the latents of each kind of autoencoder become frames piece by piece."""
