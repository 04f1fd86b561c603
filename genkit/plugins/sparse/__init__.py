"""Sparse attention: one file for each published method."""
