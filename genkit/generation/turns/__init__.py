"""The seam of turns: what one turn of a pipeline's own sampling loop means."""
