"""Attention whose logits change by a small table over groups of queries and keys, such as latent frames."""

from genkit.attention.operators.frame_table.api import frame_table
from genkit.attention.operators.frame_table.table import FrameTable

__all__ = ["FrameTable", "frame_table"]
