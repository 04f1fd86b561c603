"""Attention that decides by a pooled score which blocks it reads exactly."""

from genkit.attention.operators.threshold.api import threshold_attention
from genkit.attention.operators.threshold.plan import threshold_plan

__all__ = ["threshold_attention", "threshold_plan"]
