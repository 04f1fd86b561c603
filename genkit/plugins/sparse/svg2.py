"""SVG2: clusters of queries read clusters of keys."""

from dataclasses import dataclass
from typing import ClassVar

from genkit.attention.planners.svg2 import Svg2Planner
from genkit.errors import UsageError
from genkit.plugins.sparse.method import Sparse


@dataclass(frozen=True, kw_only=True)
class SVG2(Sparse):
    """Sparse attention: tokens are put in the order of their clusters, and clusters of queries choose those of keys.

    Source: arXiv 2505.18875. Clusters begin with evenly spaced tokens, so no random numbers are drawn, and each
    guidance branch has its own; 300 clusters of queries and 1000 of keys at 75,600 tokens, as in the source. Where the
    source reads whole clusters, blocks of 64 tokens read about 1.4 times as much; a smaller ``block`` comes nearer.
    """

    name: ClassVar[str] = "svg2"
    title: ClassVar[str] = "Sparse VideoGen2"
    paper: ClassVar[str] = "arXiv 2505.18875"
    hides_frames: ClassVar[bool] = False
    sparse_example: ClassVar[str] = "top_p=0.3,min_share=0.05,query_cluster=12,key_cluster=6"
    dense_example: ClassVar[str] = "top_p=1,min_share=1,query_cluster=12,key_cluster=6"
    tiny_example: ClassVar[str] = "top_p=0.6,query_cluster=32,key_cluster=16"

    top_p: float = 0.9
    """Share of each query cluster's softmax over key clusters to keep, in (0, 1]; the one that crosses it is taken."""
    min_share: float = 0.1
    """Minimum share of the key clusters that each query cluster reads, in [0, 1]; 1 is dense."""
    query_cluster: int = 256
    """Tokens of a cluster of queries, on average."""
    key_cluster: int = 76
    """Tokens of a cluster of keys, on average."""
    first_rounds: int = 10
    """Rounds of k-means in the first sparse step (the source: 50 at most, fewer when nothing moves)."""
    rounds: int = 2
    """Rounds of k-means in every later step, from the centres of the last."""
    tail: bool = False
    """Whether blocks that are left out count by their means, as in SVG-EAR (arXiv 2603.08982)."""
    dense_steps: float = 0.2
    """Share of the steps, from the first, that run dense (the source: 0.2 for Wan, 0.1 for HunyuanVideo); 0 is none."""

    def check(self) -> None:
        """Shares, counts, and what can compute a tail."""
        self.check_shares("top_p")
        if not 0 <= self.min_share <= 1:
            raise UsageError(f"svg2: min_share={self.min_share} is a share of the clusters and must lie in [0, 1]")
        self.check_least(1, "query_cluster", "key_cluster")
        self.check_least(0, "first_rounds", "rounds")
        if self.tail and self.impl in ("flex", "xformers"):
            raise UsageError(f"svg2: impl={self.impl!r} cannot do tail=True; choose another impl, or leave tail out")

    def planner(self) -> Svg2Planner:
        """Return the planner that follows these fields."""
        return Svg2Planner(self)
