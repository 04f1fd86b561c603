"""Radial attention: a static mask whose bands become narrower as the distance between frames grows.

Source: "Radial Attention: O(n log n) Sparse Attention with Energy Decay for Long Video Generation", arXiv 2506.19852,
section 4 and the authors' published code, whose constants are used.

Rule for the tokens. A frame has ``s`` tokens, ``P`` is the smallest power of two above ``s``, ``B`` the block size.
Query frame ``i`` and key frame ``j`` are ``d = |i - j|`` apart, in group ``g = bit_length(d)``. Token ``k`` of frame
``i`` reads token ``l`` of frame ``j`` if both conditions are met:

- band: ``|k - l| <= s`` for ``d <= 1``, else ``|k - l| <= max(B, decay * P / 2**g)``;
- pair: ``L = P / 2**g`` is at least one block, or ``d`` is a multiple of ``block / L``.

With ``sink`` every query reads the whole first frame.

From tokens to blocks. Blocks and frames are not aligned in general, so the video is cut into pieces at the beginning of
each block and each frame. A pair of pieces is inside one block and one pair of frames, and its band is known in closed
form: an ``s x s`` tile is never allocated. A pair of pieces is on if more than 60 % of the key columns that it touches
keep more than a third of their rows, and a block is on if any pair of its pieces is.

``rule="published"`` follows the authors' code, to reproduce its densities. ``rule="corrected"`` differs:

- a piece counts its own rows, not those of a whole block, and the pieces beyond ``ceil(s / B)`` blocks of a frame are
  not dropped: published, a block that straddles two frames can be switched off by both of them, which leaves whole
  query blocks without a key (544 x 960, 125 frames: 8 of 510);
- the diagonal block is always on, because every piece reads all of itself;
- the pair rule counts in blocks of ``B``; published, in 128 tokens for any ``B``;
- a ragged last video block without text is treated like any other; published, it is dense;
- above 1, each doubling of ``decay`` also halves the gaps between frame pairs, near groups first, so that a large
  ``decay`` keeps everything.

A target density is searched for along one path on which blocks are only added: first bands of one block, with fewer or
more of the frame pairs two and more apart, far ones thinned first; then all of the paper's pairs, with bands that widen
from ``decay`` 0 to 1; then ``decay`` above 1 as described. On short videos of small frames only the pairs make a
difference: 33 frames of 36 tokens have a density of 0.51 at any ``decay`` up to 1.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from genkit.attention.geometry.grid import VideoGrid
from genkit.attention.geometry.plan import BlockPlan

BlockRule = Literal["corrected", "published"]
SEARCH_STEPS = 16
"""Max halvings of the interval in the search for a density; the mask is a step function, so few are enough."""
SEARCH_WIDTH = 0.002
"""Densities this close on both sides of the target end the search."""
PUBLISHED_PAIR_LENGTH = 128
"""Band width in tokens below which the published code starts to skip frame pairs."""
PAIRS_AT_ONCE = 1 << 22
"""Pairs of pieces that are processed together; bounds the memory for long videos of small blocks."""


def radial_plan(
    grid: VideoGrid,
    *,
    block: int,
    decay: float | None = None,
    density: float | None = None,
    sink: bool | None = None,
    rule: BlockRule = "corrected",
) -> BlockPlan:
    """Return the Radial mask of ``grid`` as a plan ``[1, 1, blocks, blocks]`` on the CPU, the same for every head.

    Args:
        grid: geometry of a self-attention over all frames, with or without text.
        block: tokens per block.
        decay: width of the bands relative to the paper's; less than 1 is sparser. None with ``density``.
        density: share of the token pairs to compute, in (0, 1]; the nearest mask is searched for. Bands are at least a
            block wide and frame pairs are kept or skipped as a whole, so it is reached in steps: less than 0.01 for
            hundreds of blocks, several 0.01 for tens. 1 keeps everything. None with ``decay``.
        sink: True if every query reads the first frame of the grid. None: True for grids without text, as in the
            published code (Wan yes, HunyuanVideo no).
        rule: conversion from tokens to blocks; see the module.

    Returns:
        The plan. Blocks with text are read by all and read all. If ``density`` is below the minimum of the rule, the
        plan is that minimum and its ``note`` reports it.

    Raises:
        ValueError: a value outside its range, neither or both of ``decay`` and ``density``, or a grid whose sequences
            do not contain all frames in order.
    """
    _check(grid, block, decay, density, rule)
    pieces = _Pieces.of(grid, block)
    sink = grid.other_tokens == 0 if sink is None else sink

    def plan_at(decay: float, spacing: float) -> BlockPlan:
        keep = _text_blocks(grid, block, rule) | _video_blocks(pieces, _bands(pieces, decay, spacing, rule), sink, rule)
        return BlockPlan(keep[None, None], block, grid.tokens, grid.tokens)

    if density is None:
        assert decay is not None
        return plan_at(decay, -math.log2(decay) if decay > 1 and rule == "corrected" else 0.0)
    if density == 1:
        blocks = -(-grid.tokens // block)
        return BlockPlan(torch.ones(1, 1, blocks, blocks, dtype=torch.bool), block, grid.tokens, grid.tokens)
    return _search(plan_at, density, grid, rule)


@dataclass(frozen=True)
class _Pieces:
    """The video cut at the beginning of each block and frame; int32 ``[pieces]`` each, for speed."""

    frame: Tensor
    """Frame of each piece."""
    begin: Tensor
    """First token, counted inside the frame."""
    end: Tensor
    """Token after the last, counted inside the frame."""
    block: Tensor
    """Block of the piece in the whole sequence, text included."""
    rank: Tensor
    """Index of the block among those of its frame."""
    tokens_per_frame: int
    frames: int
    size: int
    """Tokens per block."""
    blocks: int
    """Blocks of the whole sequence."""

    @staticmethod
    def of(grid: VideoGrid, block: int) -> "_Pieces":
        """Cut the video of ``grid``."""
        s, first, last = grid.tokens_per_frame, grid.video.start, grid.video.stop
        cuts = torch.cat([torch.arange(first, last, s), torch.arange(-(-first // block) * block, last, block)]).unique()
        ends = torch.cat([cuts[1:], torch.tensor([last])])
        frame = (cuts - first) // s
        start = first + frame * s
        return _Pieces(
            frame=frame.int(),
            begin=(cuts - start).int(),
            end=(ends - start).int(),
            block=(cuts // block).int(),
            rank=(cuts // block - start // block).int(),
            tokens_per_frame=s,
            frames=grid.frames,
            size=block,
            blocks=-(-grid.tokens // block),
        )


def _video_blocks(pieces: _Pieces, bands: tuple[Tensor, Tensor], sink: bool, rule: BlockRule) -> Tensor:
    """Blocks that the video pieces switch on, bool ``[blocks, blocks]``."""
    count = len(pieces.frame)
    on = torch.zeros(pieces.blocks, count, dtype=torch.int32)
    for rows in torch.arange(count).split(max(1, PAIRS_AT_ONCE // count)):
        on.index_add_(0, pieces.block[rows], _pieces_on(pieces, rows, bands, sink, rule).int())
    table = torch.zeros(pieces.blocks, pieces.blocks, dtype=torch.int32)
    return table.index_add_(1, pieces.block, on) > 0


def _bands(pieces: _Pieces, decay: float, spacing: float, rule: BlockRule) -> tuple[Tensor, Tensor]:
    """Half-width of the band, and True if the pair is kept, for each distance ``[frames]``.

    ``spacing`` doublings are added to the paper's gaps between kept pairs; less than 0 closes gaps. A fraction of a
    doubling applies to that share of the groups: the far ones if gaps grow, the near ones if they shrink.
    """
    s, size = pieces.tokens_per_frame, pieces.size
    power = s.bit_length()
    distance = torch.arange(pieces.frames)
    group = torch.tensor([d.bit_length() for d in range(pieces.frames)])
    narrow = (decay * 2.0 ** (power - group)).floor().clamp(size, s + size).int()
    width = narrow.where(distance > 1, s)
    unit = PUBLISHED_PAIR_LENGTH if rule == "published" else size
    gap = math.floor(math.log2(unit)) - power + group
    rank = group / (pieces.frames.bit_length() + 1)
    wider = -(1 - rank - spacing).floor().long()
    gap = gap + wider.where(distance > 1, wider.clamp_max(0))
    return width, distance % (1 << gap.clamp(0, 62)) == 0


def _pieces_on(pieces: _Pieces, rows: Tensor, bands: tuple[Tensor, Tensor], sink: bool, rule: BlockRule) -> Tensor:
    """True for pairs of a query piece of ``rows`` and a key piece that are on, bool ``[rows, pieces]``."""
    distance = (pieces.frame[rows, None] - pieces.frame[None]).abs()
    first = pieces.frame == 0 if sink else torch.zeros_like(pieces.frame, dtype=torch.bool)
    width, kept = bands
    w = width[distance].masked_fill(first, pieces.tokens_per_frame)
    a, b = pieces.begin[rows, None], pieces.end[rows, None]
    judged = torch.full_like(a, pieces.size) if rule == "published" else b - a

    def columns(min_rows: Tensor | int) -> Tensor:
        """Key tokens of each piece that ``min_rows`` or more rows read; they are an interval."""
        begin = torch.maximum(a + min_rows - 1 - w, pieces.begin)
        end = torch.minimum(b - min_rows + w + 1, pieces.end)
        return (end - begin).clamp_min(0) * (b - a >= min_rows)

    on = 10 * columns(judged // 3 + 1) > 6 * columns(1)
    on &= kept[distance] | first
    if rule == "published":
        inside = pieces.rank < -(-pieces.tokens_per_frame // pieces.size)
        on &= inside[rows, None] & inside
    return on


def _text_blocks(grid: VideoGrid, block: int, rule: BlockRule) -> Tensor:
    """Rows and columns of the blocks with text; published, of everything after the last full video block."""
    blocks = -(-grid.tokens // block)
    dense = torch.zeros(blocks, dtype=torch.bool)
    for side in grid.others:
        dense[side.start // block : -(-side.stop // block)] = True
    if rule == "published" and not grid.before:
        dense[grid.video_tokens // block :] = True
    return dense[:, None] | dense


def _search(
    plan_at: Callable[[float, float], BlockPlan], density: float, grid: VideoGrid, rule: BlockRule
) -> BlockPlan:
    """The plan with the density nearest to ``density``; density grows monotonically with the position."""

    def at(position: float) -> BlockPlan:
        if position <= 0:
            return plan_at(0.0, -position)
        return plan_at(position, 0.0) if position <= 1 else plan_at(2.0 ** (position - 1), 1 - position)

    span = 2.0 + grid.tokens_per_frame.bit_length() + grid.frames.bit_length()
    low, high = (0.0, 1.0) if rule == "published" else (-span, span)
    below, above = at(low), at(high)
    if below.density >= density:
        return _with_note(below, density, grid) if below.density > density else below
    for _ in range(SEARCH_STEPS):
        if above.density - below.density < SEARCH_WIDTH:
            break
        middle = (low + high) / 2
        plan = at(middle)
        if plan.density <= density:
            low, below = middle, plan
        else:
            high, above = middle, plan
    return below if density - below.density <= above.density - density else above


def _with_note(plan: BlockPlan, density: float, grid: VideoGrid) -> BlockPlan:
    """The same plan with a note that it is denser than requested."""
    note = (
        f"radial: density {density:g} was requested, {plan.density:.3f} is the minimum of its mask on "
        f"{grid.frames} frames of {grid.tokens_per_frame} tokens in blocks of {plan.block}"
    )
    return BlockPlan(plan.keep, plan.block, plan.queries, plan.keys, note)


def _check(grid: VideoGrid, block: int, decay: float | None, density: float | None, rule: str) -> None:
    if grid.fold != "none":
        raise ValueError(f"radial needs all frames in one sequence, but this attention has {grid.fold} in the batch")
    if block < 1:
        raise ValueError(f"block={block} must be at least 1 token; 64 and 128 are usual")
    if (decay is None) == (density is None):
        raise ValueError(f"give either decay or density to radial, got decay={decay} and density={density}")
    if decay is not None and not (decay >= 0 and math.isfinite(decay)):
        raise ValueError(f"decay={decay} must be 0 or more and finite; the paper's is 1")
    if density is not None and not 0 < density <= 1:
        raise ValueError(f"density={density} must be in (0, 1]; 1 keeps everything")
    if rule not in ("corrected", "published"):
        raise ValueError(f"rule={rule!r} is unknown; known: corrected, published")
