"""Receipts of runs, and text that is safe to print."""
