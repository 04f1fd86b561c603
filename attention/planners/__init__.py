"""Planners: each decides which blocks of keys are read."""
