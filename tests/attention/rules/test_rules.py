"""Rules compose by what they are, whatever the order in which they are listed."""

import itertools
from dataclasses import dataclass, replace

import pytest
import torch
import torch.nn.functional as F

from genkit.attention.calls.call import ORDER, Call, Kind, Order, Step, compose
from genkit.attention.calls.dense import dense
from genkit.attention.calls.events import Events
from genkit.attention.calls.memory import Memory
from genkit.attention.calls.run import RunRecord
from genkit.attention.geometry.grid import VideoGrid
from genkit.attention.geometry.windows import window_starts
from genkit.attention.rules.spectral_blend import SpectralBlendRule, band, low_pass
from genkit.attention.rules.text_routing import TextRoutingRule
from genkit.attention.rules.windows import WindowRule

GRID = VideoGrid(frames=7, rows=2, cols=2)
ALL: frozenset[Kind] = frozenset({"self", "joint", "temporal", "spatial", "cross"})


@dataclass(frozen=True, kw_only=True)
class Traced:
    """Notes when it is entered."""

    name: str
    order: Order
    trace: list[str]
    kinds: frozenset[Kind] = ALL

    def wrap(self, attend):
        def traced(q, k, v, call):
            self.trace.append(self.name)
            return attend(q, k, v, call)

        return traced


@dataclass(frozen=True, kw_only=True)
class EveryOtherKey:
    """A sparse rule: reads the even keys of those frames that are visible."""

    name: str = "sparse"
    order: Order = "support"
    kinds: frozenset[Kind] = frozenset({"self"})

    def wrap(self, attend):
        def sparse(q, k, v, call):
            frame = call.grid.frame_of_token()
            seen = (torch.arange(call.grid.tokens) % 2 == 0).expand(call.grid.tokens, -1)
            if call.visible is not None:
                seen = seen & call.visible[frame][:, frame]
            call.run.sparse(self.name, float(seen.double().mean()))
            return F.scaled_dot_product_attention(q, k, v, attn_mask=seen)

        return sparse


def call_of(grid=GRID, **changes):
    return Call(layer="block", depth=0, kind="self", grid=grid, step=Step(), run=RunRecord(), **changes)


def qkv(grid=GRID):
    shape = (3, 2, 2, grid.tokens, 8)
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64).unbind(0)


def freelong():
    return SpectralBlendRule(radius=2, until=1.0, cutoff_time=0.25, cutoff_space=0.5, native_frames=4)


def sparse_by_hand(q, k, v, visible):
    seen = (torch.arange(28) % 2 == 0).expand(28, 28) & visible.repeat_interleave(4, 0).repeat_interleave(4, 1)
    return (q @ k.mT / 8**0.5).masked_fill(~seen, float("-inf")).softmax(-1) @ v


def test_kinds_of_rules_nest_in_their_order():
    trace = []
    rules = [Traced(name=order, order=order, trace=trace) for order in ORDER]
    for listed in itertools.permutations(rules):
        trace.clear()
        compose(dense, list(listed), "self")(*qkv(), call_of())
        assert trace == ["sharing", "branches", "logits", "support"]


def test_rules_of_one_kind_nest_by_name():
    trace = []
    rules = [Traced(name=name, order="logits", trace=trace) for name in "cab"]
    for listed in itertools.permutations(rules):
        trace.clear()
        compose(dense, list(listed), "self")(*qkv(), call_of())
        assert trace == ["c", "b", "a"]


def test_a_rule_sees_only_its_kinds_of_attention():
    trace = []
    rules = [Traced(name=kind, order="logits", trace=trace, kinds=frozenset({kind})) for kind in sorted(ALL)]
    for kind in ALL:
        trace.clear()
        compose(dense, rules, kind)(*qkv(), call_of())
        assert trace == [kind]
    assert compose(dense, [], "self") is dense


@pytest.mark.parametrize("turned", [False, True])
def test_freelong_over_a_sparse_rule_is_the_blend_of_two_sparse_attentions(turned):
    q, k, v = qkv()
    rules = [freelong(), EveryOtherKey()]
    call = call_of()
    out = compose(dense, rules[::-1] if turned else rules, "self")(q, k, v, call)
    wide = sparse_by_hand(q, k, v, torch.ones(7, 7, dtype=torch.bool))
    near = sparse_by_hand(q, k, v, band(7, 2))
    smooth = low_pass((wide - near).unflatten(2, (7, 2, 2)), 0.25, 0.5).flatten(2, 4)
    torch.testing.assert_close(out, near + smooth)
    assert len(call.run.densities["sparse"]) == 2 and not call.run.backends


@pytest.mark.parametrize("turned", [False, True])
def test_windows_over_a_sparse_rule_are_sparse_in_each_window(turned):
    q, k, v = qkv()
    rules = [WindowRule(window=4, stride=2), EveryOtherKey()]
    call = call_of()
    out = compose(dense, rules[::-1] if turned else rules, "self")(q, k, v, call)
    total, count = torch.zeros_like(q), torch.zeros(28, 1, dtype=q.dtype)
    weight = torch.tensor([1.0, 2, 2, 1], dtype=q.dtype).repeat_interleave(4)[:, None]
    for start in window_starts(7, 4, 2):
        rows = slice(4 * start, 4 * start + 16)
        seen = (torch.arange(16) % 2 == 0).expand(16, 16)
        total[:, :, rows] += weight * F.scaled_dot_product_attention(q[:, :, rows], k[:, :, rows], v[:, :, rows], seen)
        count[rows] += weight
    torch.testing.assert_close(out, total / count)
    assert call.run.densities == {"sparse": [0.5] * 3}


def test_all_four_rules_are_silent_at_native_length_with_one_event():
    """A video that needs nothing gets nothing: bit for bit the model's own attention."""
    rules = [replace(freelong(), native_frames=7), WindowRule(window=7, stride=2), TextRoutingRule(tail=0.33)]
    q, k, v = (x.float() for x in qkv())
    for kind in ("self", "cross"):
        call = call_of()
        call.run.events = Events(lambda whole: [(0.0, whole.pixel_frames / whole.fps)])
        out = compose(dense, rules, kind)(q, k, v, call)
        assert torch.equal(out, F.scaled_dot_product_attention(q, k, v))
        assert call.run.backends == {"dense": 1}


def test_what_a_rule_hides_is_one_table_in_all_calls_of_a_run():
    """Sparse rules keep what they worked out for a table, and know it by identity."""
    tables = []

    def attend(q, k, v, call):
        tables.append(call.visible)
        return q

    text = replace(GRID, after=2)
    for rule in (freelong(), WindowRule(window=4, stride=2)):
        tables.clear()
        call = call_of(text)
        for _ in range(3):
            rule.wrap(attend)(*qkv(text), call)
        given = [table for table in tables if table is not None]
        assert len(given) == 3 and all(table is given[0] for table in given)


def test_rules_leave_the_callers_tensors_alone():
    q, k, v = qkv()
    before = [x.clone() for x in (q, k, v)]
    for rule in (freelong(), WindowRule(window=4, stride=2), EveryOtherKey()):
        compose(dense, [rule], "self")(q, k, v, call_of())
    call = call_of(replace(GRID, fps=8.0))
    call.run.events = Events(lambda whole: [(0.0, 1.0), (1.0, whole.pixel_frames / whole.fps)])
    compose(dense, [TextRoutingRule(tail=0.33)], "cross")(q, k, v, call)
    assert all(torch.equal(x, y) for x, y in zip((q, k, v), before, strict=True))


def test_a_run_remembers_what_happened():
    run = RunRecord()
    for layer in ("a", "b", "a"):
        run.refused("radial", "too short", layer, 3)
        run.count_backend("dense")
        run.note("once")
    run.sparse("radial", 0.25)
    assert run.refusals == {("radial", "too short"): {("a", 3): 2, ("b", 3): 1}}
    assert (run.backends, run.notes, run.densities) == ({"dense": 3}, ["once"], {"radial": [0.25]})
    assert RunRecord().notes == [] and RunRecord().memory == Memory()
