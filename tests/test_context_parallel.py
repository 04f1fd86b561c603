"""diffusers' context parallelism: Ulysses is allowed and changes nothing, ring is refused."""

import json
import subprocess
import sys
from pathlib import Path

import families
import pytest
from diffusers import ContextParallelConfig
from diffusers.models._modeling_parallel import ParallelConfig

import genkit
from genkit import SVG, Radial
from genkit.errors import UsageError

RING = ParallelConfig(context_parallel_config=ContextParallelConfig(ring_degree=2))
SENTENCE = (
    r"transformer runs in ring context parallelism \(ring_degree=2\), where no device sees all keys of a call, so "
    r"nothing can be planned there; use ContextParallelConfig\(ulysses_degree=\.\.\.\) instead"
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


def test_ulysses_changes_nothing(tmp_path: Path) -> None:
    """Two processes that share the heads make the video that one makes; each sees all tokens and half of the heads."""
    worker = Path(__file__).with_name("ulysses_worker.py")
    command = [sys.executable, str(worker), str(tmp_path)]
    both = [subprocess.Popen([*command, str(rank)], stderr=subprocess.PIPE, text=True) for rank in range(2)]
    errors = [process.communicate(timeout=300)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], "\n".join(errors)
    for rank in range(2):
        told = json.loads((tmp_path / f"{rank}.json").read_text())
        assert told["heads"] == {"alone": 2, "together": 1}
        for name, result in told["plugins"].items():
            assert result["largest_difference"] < 1e-5, name
            assert result["tokens"] == result["all_tokens"], name
            assert 0 < result["density"] < 1 and result["sparse_calls"] > 0, name
            assert result["difference_from_dense"] > 1e-4, name
    assert set(told["plugins"]) == {Radial.name, SVG.name}
