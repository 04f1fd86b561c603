"""Launch numbers of block-sparse attention."""

from genkit.attention.operators.launch import Entry, Launch, LaunchTable

TABLE = LaunchTable(
    (
        Entry(Launch(queries=128, keys=64, warps=8, stages=3), itemsize=2, width=128, chip=90),
        Entry(Launch(queries=128, keys=64, warps=8, stages=3), itemsize=2, width=64),
        Entry(Launch(queries=128, keys=64, warps=8, stages=2), itemsize=2, width=128),
        Entry(Launch(queries=64, keys=32, warps=4, stages=2), itemsize=2),
        Entry(Launch(queries=64, keys=32, warps=4, stages=2), width=64),
        Entry(Launch(queries=32, keys=32, warps=4, stages=2)),
    ),
    inside_block=True,
)
"""Before sm_90, three stages of wide heads do not fit the shared memory; float32 needs twice as much."""
