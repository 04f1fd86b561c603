"""Launch numbers of gathering tokens."""

from genkit.attention.operators.launch import Entry, Launch, LaunchTable

TABLE = LaunchTable((Entry(Launch(queries=32, keys=0, warps=4, stages=3)),))
"""A program copies ``queries`` tokens."""
