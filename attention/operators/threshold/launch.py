"""Launch numbers of threshold attention."""

from genkit.attention.operators.launch import Entry, Launch, LaunchTable

TABLE = LaunchTable(
    (
        Entry(Launch(queries=0, keys=32, warps=4, stages=2), width=64),
        Entry(Launch(queries=0, keys=32, warps=8, stages=2)),
    )
)
"""``keys`` is the key blocks whose means are read at once; a program writes a block, and reads exact keys by blocks."""
