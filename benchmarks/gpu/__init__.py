"""`genkit bench gpu`: all measurements of one GPU, in parts."""
