"""Any frame size, any number of frames, any place of the text: no query of any planner loses its own block."""

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import torch
from torch import Tensor

from genkit.attention.calls.call import Call, Kind, Step
from genkit.attention.calls.run import RunRecord
from genkit.attention.geometry.grid import VideoGrid
from genkit.attention.geometry.plan import BlockPlan
from genkit.attention.planning.planner_call import PlannerCall
from genkit.plugins import catalogue
from genkit.plugins.sparse import methods

VARIANTS = {
    "sparge-cdf": "sparge:choose=cdf,mass=0.5",
    "sparge-morton": "sparge:density=0.2,order=morton",
    "frame-anchors-near": "frame-anchors:near=1",
    "sliding-tile-large": "sliding-tile:window=1x1x1",
    "svg2-large": "svg2:top_p=0.3,min_share=0.05",
}
PLANNERS = {name: methods.text(name, "sparse") for name in methods.names()} | VARIANTS
SAMPLES = 40
MOST_TOKENS = 4500
"""Of one sample, so that all of them take seconds."""


@dataclass(frozen=True, kw_only=True)
class Watched(PlannerCall):
    """Keeps the plans and does not attend."""

    plans: list[BlockPlan] = field(default_factory=list)

    def attend(self, q: Tensor, k: Tensor, v: Tensor, plan: BlockPlan, *, tail: bool = False) -> Tensor:
        self.plans.append(plan)
        return v

    def on_plan(self, q: Tensor, k: Tensor, v: Tensor, plan: Callable[[], BlockPlan]) -> None:
        self.plans.append(plan())


def grids(seed: int) -> list[VideoGrid]:
    """Tokens a frame in 1..4096 and frames in 1..128; many small frames, some large ones, most with odd sides."""
    draw, found = random.Random(seed), []
    while len(found) < SAMPLES:
        side = draw.choice([3, 9, 22, 64])
        rows, cols, text = draw.randint(1, side), draw.randint(1, side), draw.choice([0, 0, 7, 226])
        frames = draw.randint(1, min(128, max(1, MOST_TOKENS // (rows * cols))))
        before = draw.choice([0, text, text // 3])
        sides = {"before": before, "after": text - before}
        found.append(VideoGrid(frames=frames, rows=rows, cols=cols, native_frames=5, **sides))
    return found


@pytest.mark.parametrize("name", PLANNERS)
def test_every_query_block_keeps_its_own(name: str) -> None:
    seen: Counter[str] = Counter()
    for number, grid in enumerate(grids(seed=0)):
        block = (64, 128)[number % 2]
        planner = replace(catalogue.parse(PLANNERS[name]), block=block).planner()
        here = watched(planner, grid)
        if planner.refusal(here):
            seen["refused"] += 1
            continue
        q, k, v = torch.randn(3, 1, 2, grid.tokens, 16, generator=torch.Generator().manual_seed(number))
        with torch.no_grad():
            _, density = planner.attend(q, k, v, here)
        assert here.plans and 0 < float(density) <= 1 + 1e-6, grid
        for plan in here.plans:
            assert plan.keep.diagonal(dim1=-2, dim2=-1).all(), (grid, block)
        seen["sparse" if float(density) < 0.999 else "dense"] += 1
    assert seen["sparse"] >= SAMPLES // 4, f"too few of these geometries leave anything out: {dict(seen)}"


def watched(planner: Any, grid: VideoGrid) -> Watched:
    """A call of the eighth of ten steps."""
    kind: Kind = "joint" if grid.other_tokens else "self"
    call = Call(layer="blocks.3.attn1", depth=3, kind=kind, grid=grid, step=Step(index=8, total=10), run=RunRecord())
    device = torch.device("cpu")
    return Watched(planner=planner, call=call, grid=grid, scale=0.25, valid=None, impl="auto", device=device)
