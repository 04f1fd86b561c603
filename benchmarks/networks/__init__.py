"""Networks that metrics look through, and their weights."""
