"""VMoBA: a mixture of block attention."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from genkit.attention.planners.vmoba import VMoBAPlanner
from genkit.errors import UsageError
from genkit.plugins.sparse.method import Sparse

Area = Annotated[tuple[int, int], "rows x columns"]
Sides = Annotated[tuple[int, int, int], "frames x rows x columns"]


@dataclass(frozen=True, kw_only=True)
class VMoBA(Sparse):
    """Sparse attention, only for comparison: weak without training, 16.0 dB in its own paper.

    Layers alternate between chunks along time, space and both, selected by the product of the queries with their mean
    key. Source: arXiv 2506.23858, where other methods reach 20 to 30 dB untrained; chunks are those of its authors'
    setting for Wan 2.1 at 480p. Here each block of queries selects together, and chunks need not divide the video.
    """

    name: ClassVar[str] = "vmoba"
    title: ClassVar[str] = "VMoBA"
    paper: ClassVar[str] = "arXiv 2506.23858"
    hides_frames: ClassVar[bool] = False
    sparse_example: ClassVar[str] = "threshold=0.25"
    dense_example: ClassVar[str] = "threshold=1"
    tiny_example: ClassVar[str] = "threshold=0.25"

    threshold: float = 0.25
    """Share of each row's gates to keep, in (0, 1]; 1 is dense."""
    time: int = 2
    """Latent frames of a chunk along time."""
    space: Area = (3, 4)
    """Rows and columns of a chunk along space, in tokens, over all frames."""
    both: Sides = (4, 6, 4)
    """Latent frames, rows and columns of a chunk along both, in tokens."""
    dense_layers: int = 0
    """Layers, from the first, that run dense (the paper: none)."""

    def check(self) -> None:
        """Check shares and sides."""
        self.check_shares("threshold")
        self.check_least(1, "time")
        for field, count, words in (("space", 2, "rows and columns"), ("both", 3, "frames, rows and columns")):
            sides = getattr(self, field)
            if len(sides) != count or min(sides) < 1:
                raise UsageError(f"vmoba: {field}={sides} must be {count} numbers of at least 1: {words}")

    def planner(self) -> VMoBAPlanner:
        """Return the planner that follows these fields."""
        return VMoBAPlanner(self)
