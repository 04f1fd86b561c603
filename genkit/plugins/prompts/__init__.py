"""Prompts over time."""
