"""Networks of the metrics, and their weights."""
