"""Receipts of a run: which model ran on what, and what a direct call of the pipeline did."""
