"""Static token order through all blocks of a model, if a trial has shown that the model permits it."""
