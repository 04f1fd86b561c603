"""Launch numbers of attention with a table."""

from genkit.attention.operators.launch import Entry, Launch, LaunchTable

TABLE = LaunchTable(
    (
        Entry(Launch(queries=128, keys=64, warps=8, stages=3), chip=90, width=128, itemsize=2),
        Entry(Launch(queries=128, keys=64, warps=8, stages=2), chip=80, width=128, itemsize=2),
        Entry(Launch(queries=64, keys=32, warps=4, stages=2), chip=80),
        Entry(Launch(queries=32, keys=32, warps=4, stages=2)),
    )
)
"""A program writes at most ``queries`` rows of one group and reads ``keys`` keys at once."""

MIXED = Launch(queries=32, keys=32, warps=4, stages=2)
"""Numbers for tiles that contain several groups: short sequences, and a table of numbers in registers."""
