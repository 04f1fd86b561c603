"""Evaluate videos: clips, metrics, ledgers, statistics and comparisons."""
