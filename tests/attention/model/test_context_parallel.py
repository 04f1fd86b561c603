"""diffusers' context parallelism: Ulysses is allowed and changes nothing, ring is refused."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import families
import pytest
import torch
from diffusers import ContextParallelConfig
from diffusers.models._modeling_parallel import ParallelConfig
from sparse_settings import SPARSE
from torch import Tensor
from tree import HELPERS
from ulysses_worker import PLUGINS

import genkit
from genkit import Radial
from genkit.attention.calls.call import Call, Step
from genkit.attention.calls.dense import dense
from genkit.attention.calls.devices import Devices
from genkit.attention.calls.events import Events
from genkit.attention.calls.run import RunRecord
from genkit.attention.geometry.grid import VideoGrid
from genkit.attention.planning.planner import MethodPlanner
from genkit.attention.planning.rule import SparseRule
from genkit.attention.rules.text_routing import TextRoutingRule
from genkit.errors import UsageError
from genkit.plugins import catalogue
from genkit.plugins.contract import Target
from genkit.plugins.sparse import methods

RING = ParallelConfig(context_parallel_config=ContextParallelConfig(ring_degree=2))
TARGET = Target(family="wan", title="Wan", native_frames=2, kinds=frozenset({"self", "cross"}))
SENTENCE = (
    r"transformer runs in ring context parallelism \(ring_degree=2\), where no device has all keys of a call, so "
    r"it cannot be planned; use ContextParallelConfig\(ulysses_degree=\.\.\.\) instead"
)


def test_ring_is_refused_and_nothing_is_left() -> None:
    pipe = families.FAMILIES["wan"]()
    before = dict(pipe.transformer.__dict__)
    pipe.transformer._parallel_config = RING
    with pytest.raises(UsageError, match=SENTENCE):
        genkit.apply(pipe, Radial())
    del pipe.transformer._parallel_config
    assert pipe.transformer.__dict__ == before and "_genkit_handle" not in pipe.__dict__


def test_ring_that_is_switched_on_later_is_refused_as_well() -> None:
    pipe = families.FAMILIES["wan"]()
    with genkit.apply(pipe, Radial()) as handle:
        pipe.transformer._parallel_config = RING
        with pytest.raises(UsageError, match=SENTENCE):
            handle.generate("a red circle", num_frames=9, height=16, width=32, num_inference_steps=1)


COMPARING = ["adaspa, several heads give", "sparge, recall"]


@pytest.mark.slow
@pytest.mark.parametrize(("world", "names"), [(2, [*PLUGINS]), (4, COMPARING)])
def test_ulysses_changes_nothing(tmp_path: Path, world: int, names: list[str]) -> None:
    """Processes that share the heads make the video that one makes, with every method.

    Each sees all tokens and a part of the heads: those that compare heads ask one another.
    """
    worker = HELPERS / "ulysses_worker.py"
    command = [sys.executable, str(worker), str(tmp_path)]
    commands = [[*command, str(rank), str(world), *names] for rank in range(world)]
    all_of_them = [subprocess.Popen(one, stderr=subprocess.PIPE, text=True) for one in commands]
    errors = [process.communicate(timeout=600)[1] for process in all_of_them]
    assert [process.returncode for process in all_of_them] == [0] * world, "\n".join(errors)
    for rank in range(world):
        told = json.loads((tmp_path / f"{rank}.json").read_text())
        assert set(told["plugins"]) == set(names)
        for name, result in told["plugins"].items():
            assert result["largest_difference"] < 1e-5, name
            assert (result["heads"], result["tokens"]) == (4 // world, 60) and not result["refusals"], name
            assert result["difference_from_dense"] > 1e-4, name
            assert all(0 < density <= 1 for density in result["densities"]), name
        for name, sentence in told["refused"].items():
            assert re.match(rf"{name}: several devices share the tokens of this WanTransformer3DModel", sentence)


def test_every_sparse_method_runs_on_two_devices() -> None:
    assert set(PLUGINS) >= set(SPARSE) == set(methods.names())


def test_what_one_head_reads_depends_on_others_only_where_a_planner_says_so() -> None:
    """Every planner, with its settings: half of the heads get what they got beside the others."""
    draw = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(1, 8, 60, 16, generator=draw) for _ in range(3))
    k[:, 4:] = q[:, 4:] = 4 * q[:, 4:]  # half of the heads keep nearly everything in few blocks
    for name in (*SPARSE, "adaspa, several heads give"):
        rule = planned(catalogue.parse(PLUGINS[name]))
        whole, half = attended(rule, q, k, v), attended(rule, q[:, :4], k[:, :4], v[:, :4])
        same = torch.allclose(whole[:, :4], half, atol=1e-5)
        assert same != rule.planner.across_heads, name
    assert planned(catalogue.parse("adaspa:adaptive=false")).planner.across_heads is False


def test_heads_that_cannot_be_asked_run_dense_and_say_so() -> None:
    """Tensor parallelism."""
    q, k, v = torch.randn(3, 1, 2, 60, 16, generator=torch.Generator().manual_seed(0))
    for name in ("adaspa", "sparge, recall"):
        run = RunRecord()
        attended(planned(catalogue.parse(PLUGINS[name])), q, k, v, run=run, devices=Devices(None, 0, 2))
        ((_, reason),) = run.refusals
        assert "devices in tensor parallelism cannot exchange them" in reason


class Undeclared(MethodPlanner[Any]):
    """A planner that says nothing of heads."""

    def levels(self, recall: float | None = None) -> tuple[dict[str, Any], ...]:
        return ()

    def attend(self, q: Tensor, k: Tensor, v: Tensor, here: Any) -> Any:
        return q, torch.ones(())


def test_a_planner_has_to_say_whether_it_compares_heads() -> None:
    with pytest.raises(TypeError, match="across_heads"):
        Undeclared(None)


def planned(plugin: Any) -> SparseRule:
    """The rule of a sparse plug-in for a long video."""
    (rule,) = plugin.parts(TARGET).rules
    assert isinstance(rule, SparseRule)
    return rule


def attended(rule: SparseRule, q: Tensor, k: Tensor, v: Tensor, **changes: Any) -> Tensor:
    """What a rule gives in its first step."""
    grid = VideoGrid(frames=5, rows=3, cols=4, native_frames=2)
    call = Call(layer="blocks.1.attn1", depth=1, kind="self", grid=grid, step=Step(), **{"run": RunRecord()} | changes)
    return rule.wrap(dense)(q, k, v, call)


@pytest.mark.parametrize(("tokens", "count"), [(60, 2), (60, 4), (61, 2), (7, 4), (3, 4)])
def test_tokens_of_devices_follow_one_another(tokens: int, count: int) -> None:
    """As ``torch.tensor_split`` divides them."""
    parts = torch.arange(tokens).tensor_split(count)
    assert [list(Devices("group", rank, count).tokens_here(tokens)) for rank in range(count)] == [
        part.tolist() for part in parts
    ]
    assert Devices(None, 1, count).tokens_here(tokens) == range(tokens)


def test_words_of_a_part_of_the_tokens_that_nobody_shares_are_refused() -> None:
    """The frames of such queries are not known."""
    rule = TextRoutingRule(tail=0.0)
    grid = VideoGrid(frames=5, rows=3, cols=4)
    run = RunRecord(events=Events(lambda whole: [(0.0, 0.5), (0.5, whole.pixel_frames / whole.fps)]))
    call = Call(layer="blocks.1.attn2", depth=1, kind="cross", grid=grid, step=Step(), run=run)
    q, k = torch.zeros(1, 2, 30, 16), torch.zeros(1, 2, 8, 16)
    with pytest.raises(ValueError, match="has 30 queries, but 60 of the 60 tokens of the video were expected"):
        rule.wrap(dense)(q, k, k, call)
