"""How much of the softmax each pair of blocks holds."""

from genkit.attention.operators.block_mass.api import block_mass, recall

__all__ = ["block_mass", "recall"]
