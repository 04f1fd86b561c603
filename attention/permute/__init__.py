"""Tokens in another order, and back."""

from genkit.attention.permute.api import inverse, permute

__all__ = ["inverse", "permute"]
