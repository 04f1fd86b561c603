"""Tokens in another order, and back."""

from genkit.attention.operators.permute.api import inverse, permute

__all__ = ["inverse", "permute"]
