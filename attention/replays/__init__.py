"""One forward of a model, run again with some of its arguments changed, and the attention calls that it makes."""
