"""How rules enter a diffusers model and leave it without a trace."""
