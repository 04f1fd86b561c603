"""`genkit bench step`: the models are the published ones, and a step runs through the hooks, dense and sparse."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import genkit
from genkit.apps.cli import main
from genkit.benchmarks.speed import step as bench
from genkit.benchmarks.timing import operators
from genkit.benchmarks.timing.random_models import STEP, arguments, parameters_of, pipeline_of
from genkit.benchmarks.timing.real_models import MODELS

CPU = torch.device("cpu")


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Models of some 300 tokens."""
    monkeypatch.setattr(bench, "CPU_TOKENS", 300)


@pytest.mark.parametrize(
    ("name", "billions"),
    [
        ("wan-1.3b-480p", 1.42),
        ("wan-14b-720p", 14.29),
        ("hunyuan-720p", 12.82),
        ("cogvideox-2b", 1.69),
        ("cogvideox", 5.57),
        ("ltx", 1.92),
    ],
)
def test_the_transformers_have_the_published_size(name: str, billions: float) -> None:
    """Made without memory; the numbers are those of the published checkpoints."""
    pipe = pipeline_of(MODELS[name], torch.bfloat16, torch.device("meta"), seed=0)
    assert parameters_of(pipe.transformer) / 1e9 == pytest.approx(billions, abs=0.01)
    assert {x.dtype for x in pipe.transformer.parameters()} == {torch.bfloat16}
    assert torch.get_default_dtype() == torch.float32


@pytest.mark.parametrize("name", ["wan-14b-720p", "hunyuan-720p", "cogvideox-2b", "cogvideox", "ltx"])
def test_a_step_stands_past_the_warm_up_with_the_grid_of_its_family(name: str) -> None:
    model = MODELS[name].scale(150, 1, 2)
    before = torch.random.get_rng_state()
    pipe = pipeline_of(model, torch.float32, CPU, seed=0)
    given, seen = arguments(model, pipe, torch.float32, CPU, seed=0), []
    assert torch.equal(torch.random.get_rng_state(), before)
    with torch.no_grad(), genkit.apply(pipe) as handle:
        handle.begin_run(model.published.fps)
        handle.session.batch = 1
        inner = handle.session.attends[model.kind]

        def spy(q: Any, k: Any, v: Any, call: Any) -> Any:
            seen.append((call, q.shape))
            return inner(q, k, v, call)

        handle.session.attends[model.kind] = spy
        (out,) = pipe.transformer(**given)
    assert torch.isfinite(out).all() and len(seen) == sum(model.layers.values())
    for call, shape in seen:
        assert (call.grid.frames, call.grid.rows, call.grid.cols) == model.volume
        assert call.step.index == STEP and call.grid.other_tokens == model.text
        assert shape == (model.batch, 1, model.grid.tokens, model.width)
        assert call.step.branches == (("uncond", "cond") if model.batch == 2 else ("cond",))


@pytest.mark.usefixtures("small")
def test_rows_say_what_ran_and_are_ratios_of_one_run(tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "rows.jsonl"
    words = ["bench", "step", "--model", "wan-1.3b-480p", "--repeats", "1", "--out", str(out)]
    plugins = ["--plugin", "radial:density=0.5,block=16", "--plugin", "frame-anchors"]
    assert main([*words, *plugins]) == 0
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    dense, radial, anchors = (row for row in rows if row["bench"] == "step")
    assert dense["side"] == "dense" and dense["ratio"] == 1
    assert radial["ratio"] == dense["ms"] / radial["ms"] and 0.3 < radial["density"] < 0.9
    assert radial["sparse_share"] == pytest.approx(2 / 3), "the first of three layers is dense"
    assert radial["backends"]["gather"] > 0 and radial["scaled_from"]["tokens"] == 32_760
    assert radial["parameters"] == dense["parameters"] and radial["versions"]["torch"] == torch.__version__
    assert anchors["density"] is None and anchors["sparse_share"] == 0
    assert any("no more than the" in reason for reason in anchors["refused"])
    said = capsys.readouterr().out
    assert "scaled down from 32,760 tokens of 12 heads" in said and "x dense, density 0." in said
    assert "nothing was left out in 0% of the calls over all frames" in said


@pytest.mark.usefixtures("small")
def test_no_step_of_a_wrong_kernel_is_timed(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    right = operators.pool
    monkeypatch.setattr(operators, "pool", lambda *args, **how: (right(*args, **how)[0] + 1, right(*args, **how)[1]))
    assert main(["bench", "step", "--model", "ltx"]) == 1
    said = capsys.readouterr()
    assert said.err.startswith("genkit: a wrong kernel is not timed: pool ") and said.out == ""


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--model", "wan"], "there is no shape or model called 'wan'; "),
        (["--plugin", "treshold"], "there is no plug-in called 'treshold'; did you mean 'threshold'?"),
        (["--plugin", "first-block-cache"], "'first-block-cache' changes nothing inside one step, so "),
        (["--dtype", "int8"], "dtype 'int8' cannot be measured; "),
        (["--repeats", "0"], "repeats=0 must be at least 1"),
    ],
)
def test_what_cannot_be_measured_is_one_sentence(words: list[str], sentence: str, capsys: Any) -> None:
    assert (
        main(["bench", "step", "--model", "ltx", *words] if words[0] != "--model" else ["bench", "step", *words]) == 2
    )
    said = capsys.readouterr().err
    assert said.startswith(f"genkit: {sentence}") and said.count("\n") == 1


def test_memory_and_verdict_are_in_the_line() -> None:
    row = {
        "side": "threshold", "unavailable": None, "ms": 1000.0, "low_ms": 990.0, "high_ms": 1010.0, "ratio": 0.9,
        "peak_bytes": 3 * 2**30, "density": 0.25, "sparse_share": 0.5, "refused": {"threshold: why": 4},
    }  # fmt: skip
    line = bench.line_of(row)
    assert "1000.0 ms (990.0 .. 1010.0), 3.0 GiB beside the weights, 0.90 x dense, density 0.250 in 50%" in line
    assert "; dense is faster here\n" in line and line.endswith("refused 4 times: threshold: why")
    assert bench.line_of({"side": "dense", "unavailable": "out of memory"}).endswith("out of memory")
