"""What a run begins with: its noise and its texts."""
