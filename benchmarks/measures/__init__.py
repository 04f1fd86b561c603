"""Pure functions on frames."""
