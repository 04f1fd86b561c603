"""The seams inside the models of a pipeline: the positions of frames, and what one forward is."""
