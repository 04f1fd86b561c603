"""Attention over the blocks of keys that a plan keeps."""

from genkit.attention.operators.block_sparse.api import Impl, auto_impl, block_sparse

__all__ = ["Impl", "auto_impl", "block_sparse"]
