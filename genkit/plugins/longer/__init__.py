"""Videos beyond the training length: one file for each published method."""
