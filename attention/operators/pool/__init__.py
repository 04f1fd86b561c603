"""Means of blocks of tokens, and how alike the tokens of a block are."""

from genkit.attention.operators.pool.api import pool

__all__ = ["pool"]
