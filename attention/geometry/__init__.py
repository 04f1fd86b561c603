"""Where tokens stand: the grid of a video, static orders, blocks, and which blocks are read."""
