"""Endings, progress and warnings of commands."""
