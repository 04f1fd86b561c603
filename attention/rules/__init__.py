"""Rules: attention in windows, blended by frequency, routed by text."""
