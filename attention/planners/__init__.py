"""Planners decide which blocks of keys are read; the rules beside them apply the decision to attention calls."""
