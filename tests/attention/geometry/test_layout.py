"""Static orders of tokens: which, once in a forward of the model, and without a trace."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import families
import numpy as np
import pytest
import torch
from torch import Tensor

import genkit
from genkit import AdaSpa, SlidingTile, SpargeAttention, Threshold, Timeline
from genkit.attention.calls.call import Attend, Call
from genkit.attention.geometry.grid import VideoGrid
from genkit.attention.geometry.layout import Layout, Morton, Tiles, layout_of, ordered
from genkit.attention.model.order import hoist
from genkit.attention.model.session import Session
from genkit.attention.planning import planner_call
from genkit.attention.planning.shared import in_first_frame
from genkit.plugins.budget import Budget

TRANSFORMERS = ["wan", "hunyuan", "cogvideox", "ltx", "mochi"]
LAYOUTS: list[Layout] = [Tiles((2, 3, 2)), Morton(), Morton(mixes_frames=False)]
SPARSE: dict[str, Any] = {"min_tokens": 1, "dense_steps": 0, "dense_layers": 0, "block": 16}


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
@pytest.mark.parametrize(("before", "after"), [(4, 0), (0, 4), (1, 3)])
def test_an_order_holds_every_token_once_and_leaves_others(layout: Layout, before: int, after: int) -> None:
    grid = VideoGrid(frames=5, rows=3, cols=7, before=before, after=after)
    order = ordered(grid, layout)
    assert order.sort().values.equal(torch.arange(grid.tokens))
    assert order[grid.index_of_others()].equal(grid.index_of_others())
    frame = (order[grid.video] - grid.video.start) // 21
    assert frame.equal(frame.sort().values) == (not layout.mixes_frames)


def test_the_z_curve_by_hand() -> None:
    #   0 1 | 4 5
    #   2 3 | 6 7
    flat = ordered(VideoGrid(frames=1, rows=2, cols=4), Morton(mixes_frames=False))
    assert flat.tolist() == [0, 1, 4, 5, 2, 3, 6, 7]
    # Two frames of 2 x 4: the first eight places are the cube of the left half.
    cube = ordered(VideoGrid(frames=2, rows=2, cols=4), Morton())
    assert sorted(cube[:8].tolist()) == [0, 1, 4, 5, 8, 9, 12, 13]


def test_tiles_by_hand() -> None:
    order = ordered(VideoGrid(frames=4, rows=4, cols=6, after=3), Tiles((2, 2, 3)))
    assert order[:12].tolist() == [0, 1, 2, 6, 7, 8, 24, 25, 26, 30, 31, 32] and order[96:].tolist() == [96, 97, 98]
    odd = ordered(VideoGrid(frames=2, rows=3, cols=2), Tiles((2, 2, 2)))
    assert odd.tolist() == [0, 1, 2, 3, 6, 7, 8, 9, 4, 5, 10, 11]


def test_blocks_of_the_first_frame_follow_the_order() -> None:
    grid = VideoGrid(frames=4, rows=4, cols=4)
    assert in_first_frame(grid, 16, None).tolist() == [True, False, False, False]
    assert in_first_frame(grid, 8, Morton(mixes_frames=False)).sum() == 2
    # Cubes of two frames: each of the four first ones holds four of its tokens.
    assert in_first_frame(grid, 8, Morton()).tolist() == [True] * 4 + [False] * 4


@dataclass(frozen=True)
class Watching:
    """A rule that changes nothing and keeps the calls."""

    layout: Layout | None
    seen: list[Call]
    name: str = "watching"
    order: Any = "support"
    kinds: Any = frozenset({"self", "joint"})
    restarts: None = None

    def wrap(self, attend: Attend) -> Attend:
        def watched(q: Tensor, k: Tensor, v: Tensor, call: Call) -> Tensor:
            self.seen.append(call)
            return attend(q, k, v, call)

        return watched


def frames_of(pipe: Any, name: str) -> Any:
    return np.asarray(pipe(**families.call_arguments(name)).frames, dtype=np.float64)


@pytest.mark.parametrize("layout", LAYOUTS[:2], ids=str)
@pytest.mark.parametrize("name", TRANSFORMERS)
def test_a_model_gives_the_same_in_any_order_and_is_left_as_it_was(name: str, layout: Layout) -> None:
    pipe = families.FAMILIES[name]()
    plain = frames_of(pipe, name)
    seen: list[Call] = []
    with genkit.apply(pipe) as handle:
        session = Session(pipe, handle.card, [Watching(layout, seen)])
    session.install()
    ordered_frames = frames_of(pipe, name)
    session.remove()
    assert seen and all(call.layout == layout for call in seen)
    assert np.abs(ordered_frames - plain).max() < 2e-5
    assert not np.array_equal(ordered_frames, plain), "sums in another order round otherwise"
    assert np.array_equal(frames_of(pipe, name), plain)
    assert not any(x._forward_pre_hooks or x._forward_hooks for x in pipe.transformer.modules())


@pytest.mark.parametrize("name", TRANSFORMERS)
@pytest.mark.parametrize(
    "plugin",
    [
        SlidingTile(tile=(2, 2, 2), window=(1, 1, 1), **SPARSE),
        Threshold(order="morton", first_frame=False, tau=0.5, **SPARSE | {"block": 8}),
        SpargeAttention(order="morton", density=0.4, **SPARSE),
        AdaSpa(order="morton-2d", density=0.4, **SPARSE),
    ],
    ids=lambda plugin: plugin.name,
)
def test_ordered_once_or_in_every_layer_is_the_same(name: str, plugin: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = families.FAMILIES[name]()
    calls: Counter[str] = Counter()

    def counted(module: Any, function: str) -> None:
        real = getattr(module, function)

        def counting(*args: Any, **kwargs: Any) -> Any:
            calls[function] += 1
            return real(*args, **kwargs)

        monkeypatch.setattr(module, function, counting)

    counted(planner_call, "permute")
    counted(hoist, "inverse")
    with genkit.apply(pipe, plugin) as handle:
        once, density = frames_of(pipe, name), handle.session.run.densities[plugin.name][0]
        forwards = calls["inverse"]
    assert forwards > 0 and calls["permute"] == 0, "no layer moves tokens"
    with genkit.apply(pipe, plugin) as handle:
        for hoisted in handle.session.reordering.hoists:
            hoisted.remove()
        every = frames_of(pipe, name)
        assert float(handle.session.run.densities[plugin.name][0]) == pytest.approx(float(density))
    assert calls["permute"] >= 4 * forwards and float(density) < 1
    assert np.abs(once - every).max() < 2e-5


@pytest.mark.parametrize("wanted", ["frames", "morton-2d"])
def test_a_layer_may_want_another_order_than_the_model_has(wanted: str, tmp_path: Path) -> None:
    """A budget can set the order of a single layer; the video is the one of tokens that come frame by frame."""
    pipe = families.FAMILIES["wan"]()
    layers = [f"transformer.blocks.{i}.attn1" for i in range(3)]
    settings = {layers[0]: {"order": wanted}, layers[1]: {"order": "morton"}, layers[2]: {"order": wanted}}
    budget = str(Budget(method="sparge", layers=settings).save(tmp_path / "budget.json"))
    with genkit.apply(pipe, SpargeAttention(order="morton", density=0.4, budget=budget, **SPARSE)) as handle:
        once = frames_of(pipe, "wan")
        for hoisted in handle.session.reordering.hoists:
            hoisted.remove()
        every = frames_of(pipe, "wan")
    assert np.abs(once - every).max() < 2e-5


def test_beside_another_rule_tokens_come_frame_by_frame() -> None:
    pipe = families.FAMILIES["wan"]()
    with genkit.apply(pipe, SlidingTile(), Timeline()) as handle:
        assert handle.session.reordering.layout is None and not handle.session.reordering.hoists


def test_hidden_states_of_another_length_and_arguments_that_were_not_tried_are_left() -> None:
    """Sequences with more than the video's tokens, and a call that is not like the one that was tried."""

    class Block(torch.nn.Module):
        def forward(self, hidden_states: Tensor, temb: Tensor) -> Tensor:
            return hidden_states + temb

    blocks: list[torch.nn.Module] = [Block(), Block()]
    order = torch.tensor([*range(1, 16), 0])
    came: list[int] = []

    def enter(hidden: Tensor) -> Tensor | None:
        came.append(hidden.shape[1])
        return order if hidden.shape[1] == 16 else None

    hooks = hoist.Hoist("transformer", blocks, enter)
    hooks.install()
    add, start = 100 * torch.arange(16.0)[None, :, None], torch.arange(16.0)[None, :, None]
    assert blocks[0](start, add).flatten().tolist() == [101 * i for i in range(16)] and not came, "nothing was tried"
    hooks.axes = {(i, name): 1 for i in range(2) for name in ("hidden_states", "temb")} | {("out", ""): 1}
    hidden = start
    for block in blocks:
        hidden = block(hidden, add)
    assert hidden.flatten().tolist() == [201 * i for i in range(16)] and came == [16]
    inside = blocks[0](start, add)
    assert inside.flatten().tolist() == [101 * i for i in [*range(1, 16), 0]], "between the blocks they are in order"
    longer = blocks[0](torch.arange(17.0)[None, :, None], torch.zeros(1, 17, 1))
    assert longer.flatten().tolist() == list(range(17)) and came == [16, 16, 17]
    other = blocks[0](start, torch.zeros(1, 1, 1))
    assert other.flatten().tolist() == list(range(16)) and came == [16, 16, 17]
    hooks.remove()


def test_the_axis_of_the_tokens_is_the_one_that_grows_with_them() -> None:
    """Heads, channels and text may be as many by chance."""
    one = {
        (0, "hidden_states"): (2, 24, 24),
        (0, "rotary", 0): (2, 24, 24, 8),
        (0, "text"): (2, 24, 16),
        ("out", ""): (24,),
    }
    two = {
        (0, "hidden_states"): (2, 36, 24),
        (0, "rotary", 0): (2, 24, 36, 8),
        (0, "text"): (2, 24, 16),
        ("out", ""): (36,),
    }
    expected = {(0, "hidden_states"): 1, (0, "rotary", 0): 2, ("out", ""): 0}
    assert hoist.axes_of(one, two, (24, 36)) == expected


def test_names_of_orders() -> None:
    assert layout_of("frames") is None
    assert layout_of("morton") == Morton() and layout_of("morton-2d") == Morton(mixes_frames=False)
