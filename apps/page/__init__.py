"""The page: its form and what it shows."""
