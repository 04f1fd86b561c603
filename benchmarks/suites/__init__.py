"""Suites of metrics."""
