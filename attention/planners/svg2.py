"""SVG2: tokens are clustered by content, and clusters of queries select clusters of keys.

Source: "Sparse VideoGen2", arXiv 2505.18875, section 3, and its published code (k-means, top-p over cluster centres
weighted by cluster size, a minimum share of clusters). The same centres select the same clusters. Different from the
source, each for a reason:

- k-means starts from evenly spaced tokens and runs a fixed number of rounds: no random numbers, no synchronisation with
  the GPU;
- centres are stored per guidance branch (published: shared by both);
- the kernel reads blocks of equal size (published: whole clusters), and a block is read if any of its pairs of clusters
  is selected. Clusters are therefore ordered in a chain, each followed by the nearest remaining one, so that neighbours
  are selected together. Still more is executed than the clusters alone: on tokens that vary smoothly over the 32,760
  places of Wan at 480p, 1.4 times their density with blocks of 64 (1.9 without the chain), less with smaller ones. At
  equal densities SVG2 therefore reads fewer clusters here than in its paper;
- k-means processes some tokens at a time, so that its table of distances stays small.
"""

from typing import Any, Protocol

import torch
from torch import Tensor

from genkit.attention.geometry.plan import BlockPlan
from genkit.attention.operators.permute import inverse, permute
from genkit.attention.planning.planner import MethodPlanner, Settings
from genkit.attention.planning.planner_call import PlannerCall

DISTANCES_AT_ONCE = 1 << 26
"""Max size of k-means' table of distances from tokens to centres, float32: a quarter of a GiB."""


class Svg2Settings(Settings, Protocol):
    """Fields of ``genkit.SVG2`` that decide what is read."""

    @property
    def top_p(self) -> float: ...
    @property
    def min_share(self) -> float: ...
    @property
    def query_cluster(self) -> int: ...
    @property
    def key_cluster(self) -> int: ...
    @property
    def first_rounds(self) -> int: ...
    @property
    def rounds(self) -> int: ...
    @property
    def tail(self) -> bool: ...


class Svg2Planner(MethodPlanner[Svg2Settings]):
    """Clusters by k-means, selected by their share of the softmax."""

    across_heads = False

    def refusal(self, here: PlannerCall) -> str | None:
        """Refuse calls that hide frames, because clusters mix frames."""
        return "it orders tokens by cluster and cannot hide frames" if here.call.visible is not None else None

    def levels(self, recall: float | None = None) -> tuple[dict[str, Any], ...]:
        """Return settings from sparse to dense."""
        return tuple({"top_p": share, "min_share": share**4} for share in (0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 1.0))

    def attend(self, q: Tensor, k: Tensor, v: Tensor, here: PlannerCall) -> tuple[Tensor, Tensor]:
        """Cluster, select, reorder, attend, and restore the order."""
        video = here.grid.video
        label_q, centre_q = self._clusters(q[:, :, video], self.settings.query_cluster, here, "queries")
        label_k, centre_k = self._clusters(k[:, :, video], self.settings.key_cluster, here, "keys")
        chosen = self.chosen(centre_q, centre_k, label_k, here.scale)
        order_q, order_k = (self._order(label, here) for label in (label_q, label_k))
        plan = self._plan(label_q, label_k, order_q, order_k, chosen, here)
        out = here.attend(permute(q, order_q), permute(k, order_k), permute(v, order_k), plan, tail=self.settings.tail)
        return permute(out, inverse(order_q)), here.density(plan)

    def chosen(self, centre_q: Tensor, centre_k: Tensor, label_k: Tensor, scale: float) -> Tensor:
        """Return the key clusters that each query cluster reads, bool ``[B, H, QC, KC]``."""
        size = _sizes(label_k, centre_k.shape[2])
        logits = centre_q @ centre_k.mT * scale + size.log()[:, :, None]
        ordered, place = logits.softmax(-1).sort(-1, descending=True)
        taken = ordered.cumsum(-1) - ordered < self.settings.top_p
        taken[..., : max(1, int(self.settings.min_share * centre_k.shape[2]))] = True
        return torch.zeros_like(taken).scatter_(-1, place, taken)

    def _clusters(self, x: Tensor, average: int, here: PlannerCall, which: str) -> tuple[Tensor, Tensor]:
        count = max(1, x.shape[2] // average)
        centre: Tensor | None = here.per_layer(lambda: None, which)
        begun = centre is not None
        if centre is None:
            centre = x[:, :, torch.linspace(0, x.shape[2] - 1, count, device=x.device).long()].float()
        label, centre = k_means(x.float(), centre, self.settings.rounds if begun else self.settings.first_rounds)
        if not begun:
            label, centre = in_chain(label, centre)
        here.set_per_layer(centre, which)
        return label, centre

    def _order(self, label: Tensor, here: PlannerCall) -> Tensor:
        """Token order with the video tokens sorted by cluster, int64 ``[B, H, N]``; other tokens are not moved."""
        order = torch.arange(here.grid.tokens, device=label.device).repeat(*label.shape[:2], 1)
        order[..., here.grid.video] = label.argsort(dim=-1, stable=True) + here.grid.before
        return order

    def _plan(
        self, label_q: Tensor, label_k: Tensor, order_q: Tensor, order_k: Tensor, chosen: Tensor, here: PlannerCall
    ) -> BlockPlan:
        rows = self._overlap(label_q, order_q, chosen.shape[2], here)
        cols = self._overlap(label_k, order_k, chosen.shape[3], here)
        block = here.block(self.settings.block)
        keep = (rows @ chosen.float() @ cols.mT > 0) | here.always_kept(block, first_frame=False)
        return BlockPlan(keep, block, here.grid.tokens, here.grid.tokens)

    def _overlap(self, label: Tensor, order: Tensor, clusters: int, here: PlannerCall) -> Tensor:
        """1 where a block of the ordered tokens contains one of a cluster, float ``[B, H, blocks, clusters]``."""
        grid, block = here.grid, here.block(self.settings.block)
        blocks = -(-grid.tokens // block)
        sorted_label = label.gather(-1, order[..., grid.video] - grid.video.start)
        place = torch.arange(grid.video.start, grid.video.stop, device=label.device) // block
        flat = torch.zeros(*label.shape[:2], blocks * clusters, device=label.device)
        return flat.scatter_(-1, place * clusters + sorted_label, 1.0).unflatten(-1, (blocks, clusters))


def k_means(x: Tensor, centre: Tensor, rounds: int) -> tuple[Tensor, Tensor]:
    """Return labels, int64 ``[B, H, N]``, and centres ``[B, H, C, D]`` after ``rounds`` of Lloyd's algorithm.

    An empty cluster keeps its centre.
    """
    for _ in range(rounds):
        label = _nearest(x, centre)
        total = torch.zeros_like(centre).scatter_add_(2, label[..., None].expand_as(x), x)
        size = _sizes(label, centre.shape[2])[..., None]
        centre = torch.where(size > 0, total / size.clamp_min(1), centre)
    return _nearest(x, centre), centre


def _nearest(x: Tensor, centre: Tensor) -> Tensor:
    rows = max(1, DISTANCES_AT_ONCE // (centre.numel() // centre.shape[-1]))
    square, double = centre.square().sum(-1)[:, :, None], 2 * centre.mT
    return torch.cat([(square - part @ double).argmin(-1) for part in x.split(rows, 2)], -1)


def in_chain(label: Tensor, centre: Tensor) -> tuple[Tensor, Tensor]:
    """Renumber the clusters into a chain in which each is followed by the nearest remaining one; the first stays."""
    # Without matrix products, whose rounding may depend on the batch.
    far = torch.cdist(centre, centre, compute_mode="donot_use_mm_for_euclid_dist")
    place = torch.zeros(centre.shape[:2], dtype=torch.long, device=centre.device)
    order = [place]
    for _ in range(1, centre.shape[2]):
        index = place[..., None, None]
        far.scatter_(3, index.expand(*far.shape[:3], 1), float("inf"))
        place = far.gather(2, index.expand(*far.shape[:2], 1, far.shape[3]))[:, :, 0].argmin(-1)
        order.append(place)
    chain = torch.stack(order, -1)
    return inverse(chain).gather(-1, label), centre.gather(2, chain[..., None].expand_as(centre))


def _sizes(label: Tensor, clusters: int) -> Tensor:
    """Tokens of each cluster, float ``[B, H, clusters]``."""
    ones = torch.ones(label.shape, device=label.device)
    return torch.zeros(*label.shape[:2], clusters, device=label.device).scatter_add_(-1, label, ones)
