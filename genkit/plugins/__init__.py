"""Plug-ins: one file for each published method."""
