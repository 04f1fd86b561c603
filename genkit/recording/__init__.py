"""One short run of a pipeline, and what happens in it."""
