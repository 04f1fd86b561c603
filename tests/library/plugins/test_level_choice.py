"""What a probe measures of a call, worked out by hand, and which level each layer gets from it."""

import itertools
import math
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor

from genkit.attention.calls.call import Call, Step
from genkit.attention.calls.run import RunRecord
from genkit.attention.geometry.grid import VideoGrid
from genkit.attention.geometry.plan import BlockPlan
from genkit.attention.planning.probe import ProbingPlanner, Sample
from genkit.attention.planning.rule import SparseRule
from genkit.probing.level_choice import Outcome, by_density, by_recall, pareto_front


@dataclass(frozen=True, kw_only=True)
class Band:
    """Blocks of four tokens at most ``reach`` from the diagonal."""

    reach: int = 0
    name: str = "band"
    across_heads = False
    layout = None

    def having(self, **fields: Any) -> "Band":
        return replace(self, **fields)

    def refusal(self, here: Any) -> str | None:
        return None

    def levels(self, recall: float | None = None) -> tuple[dict[str, Any], ...]:
        return ({"reach": 0}, {"reach": 1})

    def attend(self, q: Tensor, k: Tensor, v: Tensor, here: Any) -> tuple[Tensor, Tensor]:
        index = torch.arange(q.shape[2] // 4)
        keep = (index[:, None] - index).abs() <= self.reach
        plan = BlockPlan(keep[None, None], 4, q.shape[2], k.shape[2])
        return here.attend(q, k, v, plan), here.density(plan)


def story(branches: tuple[str, ...]) -> tuple[list[Sample], Tensor]:
    """What the diagonal blocks keep of a batch of two and two heads, with the output of the probed call.

    Queries of block 0 read all keys alike; in head 0 those of block 1 give three quarters to the keys of block 1. The
    values of block 0 are 0 and those of block 1 are 1. In head 1 all keys are read alike and all values are 1. The
    second of the batch has the heads the other way round.
    """
    k, v, q = torch.zeros(2, 2, 8, 16), torch.ones(2, 2, 8, 16), torch.zeros(2, 2, 8, 16)
    q[:, :, 4:] = 1 / 16
    k[0, 0, 4:] = k[1, 1, 4:] = math.log(3)
    v[0, 0, :4] = v[1, 1, :4] = 0
    step = Step(index=4, total=9, branches=branches)
    grid = VideoGrid(frames=2, rows=2, cols=2)
    call = Call(layer="blocks.1.attn1", depth=1, kind="self", grid=grid, step=step, run=RunRecord(), scale=1.0)
    planner = ProbingPlanner(planner=Band(), settings=Band().levels())
    rule = SparseRule(planner=planner, dense_steps=0, dense_layers=0, min_tokens=1, impl="reference")
    out = rule.wrap(lambda *_: pytest.fail("the probe attends by itself"))(q, k, v, call)
    return list(planner.samples()), out


def test_two_blocks_of_known_mass() -> None:
    """Head 0 keeps a half and three quarters. It gives 0 and 1 instead of 1/2 and 3/4."""
    samples, out = story(("uncond", "cond"))
    assert [(s.layer, s.step, s.branch, s.level, s.density) for s in samples] == [
        ("transformer.blocks.1.attn1", 4, branch, level, (0.5, 1.0)[level])
        for level in (0, 1)
        for branch in ("uncond", "cond")
    ]
    error = math.sqrt((1 / 4 + 1 / 16) / (1 / 4 + 9 / 16))
    assert samples[0].recall == pytest.approx((5 / 8, 1 / 2)) and samples[1].recall == pytest.approx((1 / 2, 5 / 8))
    assert samples[0].error == pytest.approx((error, 0), abs=1e-6)
    assert samples[1].error == pytest.approx((0, error), abs=1e-6)
    for sample in samples[2:]:
        assert sample.recall == pytest.approx((1, 1)) and sample.error == pytest.approx((0, 0), abs=1e-6)
    torch.testing.assert_close(out[0, 0, :, 0], torch.tensor([0.5] * 4 + [0.75] * 4))


def test_the_worst_of_a_batch_counts() -> None:
    (sample, _), _ = story(("cond",))
    assert sample.recall == pytest.approx((1 / 2, 1 / 2)) and min(sample.error) == max(sample.error) > 0.6


def outcome(level: int, density: float, recall: float) -> Outcome:
    return Outcome(level=level, density=density, recall=recall, error=1 - recall)


def test_the_sparsest_level_that_keeps_enough() -> None:
    layers = {
        "easy": [outcome(0, 0.1, 0.96), outcome(1, 0.5, 0.99)],
        "equal": [outcome(0, 0.3, 0.5), outcome(1, 0.3, 0.95), outcome(2, 0.9, 1.0)],
        "turned": [outcome(0, 0.6, 0.97), outcome(1, 0.4, 0.98)],
        "hopeless": [outcome(0, 0.1, 0.2), outcome(1, 0.7, 0.9), outcome(2, 1.0, 0.9)],
    }
    chosen = {layer: one.level for layer, one in by_recall(layers, 0.95).items()}
    assert chosen == {"easy": 0, "equal": 1, "turned": 1, "hopeless": 1}


def test_no_choice_of_the_same_density_has_a_better_worst_layer() -> None:
    """Against every combination of levels, for many small tables."""
    make = torch.Generator().manual_seed(0)
    for trial in range(60):
        table = torch.rand(3, 4, 2, generator=make).tolist()
        layers = {str(row): [outcome(level, *pair) for level, pair in enumerate(table[row])] for row in range(3)}
        density = 0.25 + trial / 100
        within = [c for c in itertools.product(*layers.values()) if sum(one.density for one in c) / 3 <= density]
        chosen = by_density(layers, density).values()
        if not within:
            assert {one.level for one in chosen} and [*chosen] == [pareto_front(row)[0] for row in layers.values()]
            continue
        assert sum(one.density for one in chosen) / 3 <= density + 1e-6
        best = max(min(one.recall for one in combination) for combination in within)
        assert min(one.recall for one in chosen) == best


def test_what_is_left_goes_to_the_others() -> None:
    layers = {
        "full": [outcome(0, 0.2, 0.1)],
        "dear": [outcome(0, 0.2, 0.2), outcome(1, 1.0, 1.0)],
        "cheap": [outcome(0, 0.2, 0.3), outcome(1, 0.3, 0.4), outcome(2, 0.4, 0.5)],
    }
    chosen = {layer: one.level for layer, one in by_density(layers, 0.27).items()}
    assert chosen == {"full": 0, "dear": 0, "cheap": 2}
