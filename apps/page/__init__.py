"""Form and output of the page."""
