"""Launch numbers of pooling."""

from genkit.attention.operators.launch import Entry, Launch, LaunchTable

TABLE = LaunchTable((Entry(Launch(queries=0, keys=16, warps=4, stages=3)),))
"""A program writes the mean of one block and reads ``keys`` tokens at once."""
