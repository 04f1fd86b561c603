"""Planners on the embedded model."""
