"""Means of blocks of tokens, and similarity of the tokens in a block."""

from genkit.attention.operators.pool.api import pool

__all__ = ["pool"]
