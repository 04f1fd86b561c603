"""Read from experiments with single forwards of a model what its attention sees."""
