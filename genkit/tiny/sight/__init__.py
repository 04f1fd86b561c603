"""Measurements of the oracle: from pixels to things, from paths to motions."""
