"""Planners: each decides, from geometry or from queries and keys, which blocks of keys are read."""
