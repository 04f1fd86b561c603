"""Attention that reads blocks with a high pooled score exactly, and all others by their mean."""

from genkit.attention.operators.threshold.api import threshold_attention
from genkit.attention.operators.threshold.plan import threshold_plan

__all__ = ["threshold_attention", "threshold_plan"]
