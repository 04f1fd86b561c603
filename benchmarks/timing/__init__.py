"""Operators, models and inputs that are timed, the machine, and the correctness gate."""
