"""Drawings that look the same in SVG and PNG."""
