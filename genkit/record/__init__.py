"""The receipt of a run, and text that is safe to print."""
