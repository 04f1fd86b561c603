"""Share of the softmax in each pair of blocks."""

from genkit.attention.operators.block_mass.api import block_mass, recall

__all__ = ["block_mass", "recall"]
