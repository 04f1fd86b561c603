"""Shared parts of all planners: the rule around them, their context, and the measurement of what they keep."""
