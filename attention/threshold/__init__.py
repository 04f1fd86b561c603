"""Attention that decides by a pooled score which blocks it reads exactly."""

from genkit.attention.threshold.api import threshold_attention
from genkit.attention.threshold.reference import threshold_plan

__all__ = ["threshold_attention", "threshold_plan"]
