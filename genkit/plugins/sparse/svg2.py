"""SVG2: clusters of queries read clusters of keys."""

from dataclasses import dataclass
from typing import ClassVar

from genkit.attention.planners.svg2 import Svg2Planner
from genkit.errors import UsageError
from genkit.plugins.sparse.method import Sparse


@dataclass(frozen=True, kw_only=True)
class SVG2(Sparse):
    """Sparse attention: tokens are sorted by cluster, and clusters of queries select clusters of keys.

    Source: arXiv 2505.18875. K-means starts from evenly spaced tokens, without random numbers, and each guidance branch
    has its own clusters; 300 of queries and 1000 of keys at 75,600 tokens, as in the source. The source reads whole
    clusters; blocks of 64 tokens read about 1.4 times as much, smaller blocks less.
    """

    name: ClassVar[str] = "svg2"
    title: ClassVar[str] = "Sparse VideoGen2"
    paper: ClassVar[str] = "arXiv 2505.18875"
    hides_frames: ClassVar[bool] = False
    sparse_example: ClassVar[str] = "top_p=0.3,min_share=0.05,query_cluster=12,key_cluster=6"
    dense_example: ClassVar[str] = "top_p=1,min_share=1,query_cluster=12,key_cluster=6"
    tiny_example: ClassVar[str] = "top_p=0.6,query_cluster=32,key_cluster=16"

    top_p: float = 0.9
    """Share of each query cluster's softmax over key clusters to keep, in (0, 1], including the one that crosses it."""
    min_share: float = 0.1
    """Min share of the key clusters that each query cluster reads, in [0, 1]; 1 is dense."""
    query_cluster: int = 256
    """Mean number of tokens in a query cluster."""
    key_cluster: int = 76
    """Mean number of tokens in a key cluster."""
    first_rounds: int = 10
    """K-means iterations in the first sparse step (the source: up to 50, until convergence)."""
    rounds: int = 2
    """K-means iterations in each later step, starting from the last centroids."""
    tail: bool = False
    """Whether skipped blocks contribute by their means, as in SVG-EAR (arXiv 2603.08982)."""
    dense_steps: float = 0.2
    """Share of the steps, from the first, that run dense (the source: 0.2 for Wan, 0.1 for HunyuanVideo); 0 is none."""

    def check(self) -> None:
        """Check shares, counts, and that the implementation can compute a tail."""
        self.check_shares("top_p")
        if not 0 <= self.min_share <= 1:
            raise UsageError(f"svg2: min_share={self.min_share} is a share of the clusters and must be in [0, 1]")
        self.check_least(1, "query_cluster", "key_cluster")
        self.check_least(0, "first_rounds", "rounds")
        if self.tail and self.impl in ("flex", "xformers"):
            raise UsageError(
                f"svg2: impl={self.impl!r} does not support tail=True; choose another impl, or leave tail out"
            )

    def planner(self) -> Svg2Planner:
        """Return the planner that follows these fields."""
        return Svg2Planner(self)
