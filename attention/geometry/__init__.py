"""Geometry of the tokens: the grid of a video, static orders, blocks, and which blocks are read."""
