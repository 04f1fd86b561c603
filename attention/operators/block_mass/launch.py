"""Launch numbers of block mass."""

from genkit.attention.operators.launch import Entry, Launch, LaunchTable

TABLE = LaunchTable(
    (
        Entry(Launch(queries=0, keys=64, warps=4, stages=2), width=64),
        Entry(Launch(queries=0, keys=64, warps=8, stages=2)),
    ),
    inside_block=True,
)
"""A program writes the sums of one block of queries and reads ``keys`` keys at once."""
