"""`genkit bench gpu`: everything about one GPU, in parts."""
