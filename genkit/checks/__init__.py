"""Checks before a run: values, arguments, devices and memory."""
