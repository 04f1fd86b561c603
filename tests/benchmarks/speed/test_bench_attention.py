"""`genkit bench attention`: shapes, formulas, the gate, rows and ratios. Nothing here is a matter of speed."""

import itertools
import json
import math
import re
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from genkit.apps.cli import main
from genkit.attention.geometry.grid import VideoGrid
from genkit.benchmarks.speed import attention as bench
from genkit.benchmarks.speed.lines import line_of
from genkit.benchmarks.speed.planner_time import sparse_plugins, sparse_rule, time_planner
from genkit.benchmarks.timing import baselines, machine, operators
from genkit.benchmarks.timing.gate import WrongKernelError, require_correct
from genkit.benchmarks.timing.masks import mask_of
from genkit.benchmarks.timing.random_tensors import query_key_value
from genkit.benchmarks.timing.real_models import MODELS, find_model
from genkit.errors import UsageError

CPU = torch.device("cpu")
FLAGS = ["--shape", "ltx", "--plugin", "radial:density=0.5", "--density", "1", "--density", "0.5", "--repeats", "1"]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shapes of some 300 tokens, one baseline that runs and one that cannot."""

    def absent(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        raise baselines.UnavailableError("the package fast is not installed")

    monkeypatch.setattr(bench, "CPU_TOKENS", 300)
    monkeypatch.setattr(bench, "baselines", lambda: {"sdpa": F.scaled_dot_product_attention, "fast": absent})


@pytest.mark.parametrize(
    ("name", "heads", "tokens", "width", "text"),
    [
        ("wan-1.3b-480p", 12, 32_760, 128, None),
        ("wan-14b-720p", 40, 75_600, 128, None),
        ("hunyuan-720p", 24, 118_800 + 256, 128, slice(118_800, 119_056)),
        ("cogvideox-2b", 30, 17_550 + 226, 64, slice(0, 226)),
        ("cogvideox", 48, 17_550 + 226, 64, slice(0, 226)),
        ("ltx", 32, 21 * 16 * 22, 64, None),
    ],
)
def test_shapes_are_those_of_the_models(name: str, heads: int, tokens: int, width: int, text: slice | None) -> None:
    model = MODELS[name]
    assert (model.heads, model.grid.tokens, model.width) == (heads, tokens, width)
    assert model.grid.others == ((text,) if text else ())


def test_every_pixel_frame_of_the_usual_video_is_in_the_grid() -> None:
    """81, 129, 49 and 161 frames, at strides of 4 and 8."""
    frames = {name: model.grid.pixel_frames for name, model in MODELS.items()}
    assert frames == {
        "wan-1.3b-480p": 81, "wan-14b-720p": 81, "hunyuan-720p": 129, "cogvideox-2b": 49, "cogvideox": 49, "ltx": 161,
    }  # fmt: skip


def test_the_flops_of_one_call_by_hand() -> None:
    """Wan 14B at 720p: 4 * 40 * 75,600^2 * 128 is 117.05 TFLOP; in 200 ms 585.25 TFLOP/s, half at half the density."""
    assert bench.tflops((1, 40, 75_600, 128), 1.0, 200.0) == pytest.approx(585.25, abs=0.01)
    assert bench.tflops((1, 40, 75_600, 128), 0.5, 200.0) == pytest.approx(292.63, abs=0.01)
    assert bench.tflops((2, 1, 10, 4), 1.0, 1.0) == pytest.approx(2 * 4 * 100 * 4 / 1e-3 / 1e12)


def test_a_likeness_keeps_its_proportions_and_says_what_it_stands_for() -> None:
    real = MODELS["hunyuan-720p"]
    small = real.scale(4608, 2, 3)
    assert small.grid.tokens == pytest.approx(4608, rel=0.1)
    assert small.volume == (11, 15, 27) and small.text == 10 and small.heads == 2
    assert small.layers == {"num_layers": 3, "num_single_layers": 3}
    assert small.scaled_from == {
        "volume": [33, 45, 80], "text": 256, "tokens": 119_056, "heads": 24,
        "layers": {"num_layers": 20, "num_single_layers": 40},
    }  # fmt: skip
    assert "scaled down from 119,056 tokens of 24 heads" in small.scaling
    assert real.scale(10**9, 99) is real and real.scaling == ""


@pytest.mark.usefixtures("small")
def test_every_row_is_complete_and_its_ratios_are_of_the_same_run(tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "rows.jsonl"
    assert main(["bench", "attention", *FLAGS, "--out", str(out)]) == 0
    said = capsys.readouterr().out
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    checks = [row for row in rows if row["bench"] == "check"]
    assert checks and all(row["error"] <= row["bound"] for row in checks)
    timed = {row["side"]: row for row in rows if row["bench"] == "attention"}
    assert list(timed) == [
        "sdpa", "fast", "block_sparse, all", "block_sparse, band 0.5", "block_sparse, scattered 0.5",
        "radial:density=0.5",
    ]  # fmt: skip
    assert timed["fast"]["unavailable"] == "the package fast is not installed"
    assert "the package fast is not installed" in said
    for row in timed.values():
        assert row["shape"] == "ltx" and row["dtype"] == "float32" and row["device"] == "cpu" and row["seed"] == 0
        assert row["tensor"] == [1, 2, 7 * 5 * 8, 64] and row["scaled_from"]["tokens"] == 7392
        assert row["versions"]["torch"] == torch.__version__ and row["device_name"] and row["threads"] >= 1
        if row["side"] != "fast":
            assert row["ratios"] == {"sdpa": timed["sdpa"]["ms"] / row["ms"]}
            alone = row.get("attention_ms", row["ms"])
            assert row["tflops"] == pytest.approx(bench.tflops(row["tensor"], row["density"], alone))
            assert row["low_ms"] <= row["ms"] <= row["high_ms"] and row["peak_bytes"] is None
    assert timed["block_sparse, all"]["density"] == 1 and timed["sdpa"]["density"] == 1
    assert timed["block_sparse, band 0.5"]["density"] == pytest.approx(0.5, abs=0.15)
    radial = timed["radial:density=0.5"]
    assert radial["ms"] > 0 and radial["attention_ms"] > 0 and radial["planner_ms"] >= 0 and radial["impl"] == "gather"
    assert "scaled down from 7,392 tokens of 32 heads" in said and bench.FORMULA in said


@pytest.mark.usefixtures("small")
def test_earlier_lines_are_never_lost(tmp_path: Path) -> None:
    out = tmp_path / "rows.jsonl"
    words = ["bench", "attention", "--shape", "ltx", "--plugin", "threshold", "--density", "1", "--repeats", "1"]
    assert main([*words, "--out", str(out)]) == 0
    before = out.read_text()
    assert main([*words, "--out", str(out)]) == 0
    after = out.read_text()
    assert after.startswith(before) and len(after.splitlines()) == 2 * len(before.splitlines())


@pytest.mark.usefixtures("small")
def test_rows_that_were_told_stay_when_the_user_stops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    def stops(*args: Any, **kwargs: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(bench, "mask_of", stops)
    out = tmp_path / "rows.jsonl"
    assert main(["bench", "attention", *FLAGS, "--impl", "reference", "--out", str(out)]) == 130
    assert capsys.readouterr().err == f"genkit: stopped; the finished rows are in {str(out)!r}\n"
    assert [json.loads(line)["bench"] for line in out.read_text().splitlines()].count("attention") == 2


def broken(function: Callable[..., Any], spoil: Callable[[Tensor], Tensor]) -> Callable[..., Any]:
    """The same function with a wrong first result."""

    def wrong(*args: Any, **kwargs: Any) -> Any:
        out = function(*args, **kwargs)
        return (spoil(out[0]), *out[1:]) if isinstance(out, tuple) else spoil(out)

    return wrong


@pytest.mark.parametrize(
    ("function", "named"),
    [
        ("block_sparse", r"block_sparse \(reference, float32, D 64, blocks of 64\) has an error of"),
        ("threshold_attention", "threshold "),
        ("block_mass", "block_mass "),
        ("pool", "pool "),
        ("permute", "permute "),
    ],
)
def test_a_wrong_operator_is_found(function: str, named: str, monkeypatch: pytest.MonkeyPatch) -> None:
    right = getattr(operators, function)
    for spoil in (lambda x: x * 1.001, lambda x: x.masked_fill(torch.arange(x.shape[-1]) == 1, math.nan)):
        monkeypatch.setattr(operators, function, broken(right, spoil))
        with pytest.raises(WrongKernelError, match=f"a wrong kernel is not timed: .*{named}"):
            require_correct("reference", torch.float32, [64], CPU)


def test_an_operator_that_cannot_run_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*args: Any, **kwargs: Any) -> Tensor:
        raise RuntimeError("out of resource: shared memory")

    monkeypatch.setattr(operators, "permute", fails)
    with pytest.raises(WrongKernelError, match="permute .* cannot run: out of resource: shared memory"):
        require_correct("reference", torch.float32, [64], CPU)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_right_operators_pass_in_every_dtype(dtype: torch.dtype) -> None:
    found = require_correct("reference", dtype, [32], CPU, blocks=[32], others=16)
    assert {x["operator"] for x in found} == {*operators.OPERATORS, "threshold's selection"}
    blocks = {name: {x["block"] for x in found if x["operator"] == name} for name in operators.OPERATORS}
    assert blocks.pop("block_sparse") == blocks.pop("block_sparse with tail") == {32, 16}
    assert set(map(frozenset, blocks.values())) == {frozenset({16})}


@pytest.mark.usefixtures("small")
def test_no_speed_of_a_wrong_kernel_is_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr(operators, "block_sparse", broken(operators.block_sparse, lambda x: 1.01 * x))
    out = tmp_path / "rows.jsonl"
    assert main(["bench", "attention", *FLAGS, "--out", str(out)]) == 1
    said = capsys.readouterr()
    assert re.search(r"^genkit: a wrong kernel is not timed: block_sparse .* has an error of", said.err)
    assert "sdpa" not in said.out and out.read_text() == ""


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--shape", "wan-14b"], "there is no shape or model called 'wan-14b'; did you mean 'wan-14b-720p'?"),
        (["--plugin", "radiall"], "there is no plug-in called 'radiall'; did you mean 'radial'?"),
        (["--plugin", "freelong"], "'freelong' does not leave out blocks of attention, so it has no planner"),
        (["--plugin", "radial:recall=0.9"], "'radial:recall=0.9' is set per layer during a generation"),
        (["--dtype", "float46"], "dtype 'float46' cannot be measured; did you mean 'float16'?"),
        (["--device", "tpu"], "device 'tpu' cannot be measured; did you mean 'cpu'?"),
        (["--density", "0"], r"density=0.0 must be in \(0, 1\]; 1 keeps everything"),
        (["--repeats", "0"], "repeats=0 must be at least 1"),
        (["--impl", "triton", "--dtype", "bfloat16"], "impl='triton' cannot do this call: .*bfloat16"),
    ],
)
@pytest.mark.usefixtures("small")
def test_what_cannot_be_measured_is_one_sentence(words: list[str], sentence: str, capsys: Any) -> None:
    if words[0] != "--shape":
        words = ["--shape", "ltx", *words]
    assert main(["bench", "attention", *words]) == 2
    said = capsys.readouterr().err
    assert re.match(f"genkit: {sentence}", said) and said.count("\n") == 1


def test_structured_tensors_are_alike_where_they_are_near() -> None:
    grid = VideoGrid(frames=8, rows=8, cols=8, before=4)
    q, k, v = query_key_value(grid, 2, 64, torch.float32, CPU, 3)
    again = query_key_value(grid, 2, 64, torch.float32, CPU, 3)
    assert all(torch.equal(x, y) for x, y in zip((q, k, v), again, strict=True))
    logits = (q @ k.mT / 8)[0, :, 4:, 4:]
    own = logits.diagonal(dim1=-2, dim2=-1).mean(-1)
    assert (own > 6).all() and (own < 10).all() and logits.mean((-2, -1)).abs().max() < 3
    frame, row = logits[:, 0, 64], logits[:, 0, 7 * 8]  # one frame later; seven rows further
    assert frame[1] > frame[0] + 2, "odd heads look along time"
    assert q.transpose(1, 2).is_contiguous() and row.shape == (2,)


@pytest.mark.parametrize("kind", ["band", "scattered"])
@pytest.mark.parametrize("density", [0.1, 0.25, 0.5])
def test_masks_have_the_density_that_was_asked_for(kind: str, density: float) -> None:
    plan = mask_of(kind, VideoGrid(frames=8, rows=16, cols=10), 3, block=16, density=density, seed=0)
    assert plan.density == pytest.approx(density) and (plan.keep.sum(-1) == 80 * density).all()
    assert plan.keep.diagonal(dim1=-2, dim2=-1).all()


def test_scattered_masks_differ_by_head_and_bands_hold_neighbours() -> None:
    grid = VideoGrid(frames=8, rows=16, cols=10)
    scattered = mask_of("scattered", grid, 3, block=16, density=0.25, seed=0).keep
    assert not torch.equal(scattered[0, 0], scattered[0, 1])
    band = mask_of("band", grid, 3, block=16, density=0.05, seed=0).keep
    assert band.shape[1] == 1 and band[0, 0, 40].nonzero().flatten().tolist() == [38, 39, 40, 41]
    assert band[0, 0, 0].nonzero().flatten().tolist() == [0, 1, 2, 3]
    text = VideoGrid(frames=8, rows=16, cols=10, before=16)
    assert mask_of("band", text, 3, block=16, density=0.05, seed=0).keep[0, 0, :, 0].all()
    assert mask_of("scattered", grid, 3, block=16, density=1.0, seed=0).keeps_all


def test_the_time_of_a_planner_is_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that counts its own readings: two around the whole and two around the attention inside."""
    clock = itertools.count()
    monkeypatch.setattr(machine.time, "perf_counter", lambda: float(next(clock)))
    model = find_model("wan-1.3b-480p").scale(300, 1)
    q, k, v = query_key_value(model.grid, 1, 128, torch.float32, CPU, 0)
    found = time_planner(sparse_rule("radial:density=0.5", model), model, q, k, v, impl="reference", repeats=2)
    assert not isinstance(found, str)
    assert (found.whole.ms, found.attention_ms, found.planner_ms, found.planner_first_ms) == (3000, 1000, 2000, 2000)
    inside = time_planner(sparse_rule("threshold", model), model, q, k, v, impl="auto", repeats=2)
    assert not isinstance(inside, str)
    assert inside.inside and inside.planner_ms is None and inside.attention_ms == inside.whole.ms == 1000
    assert 0 < inside.density < 1
    refused = time_planner(sparse_rule("frame-anchors", model), model, q, k, v, impl="auto", repeats=1)
    assert isinstance(refused, str) and "no more than the 21 of the training" in refused


def test_all_planners_are_found() -> None:
    known = {"adaspa", "frame-anchors", "radial", "sliding-tile", "sparge", "svg", "svg2", "threshold", "vmoba"}
    assert known <= set(sparse_plugins()) and "freelong" not in sparse_plugins()


def row_of(**change: Any) -> dict[str, Any]:
    return {
        "side": "radial", "kind": "planner", "unavailable": None, "density": 0.3, "ms": 2.0, "low_ms": 1.5,
        "high_ms": 2.5, "planner_ms": 0.25, "planner_inside": False, "tflops": 1.0, "peak_bytes": 3 << 20,
        "ratios": {"sdpa": 1.5, "flex": 1.1},
    } | change  # fmt: skip


def test_dense_is_faster_here_is_an_answer() -> None:
    assert line_of(row_of()).endswith("sdpa 1.50, flex 1.10")
    slower = line_of(row_of(ratios={"sdpa": 1.5, "flex": 0.8}))
    assert slower.endswith("sdpa 1.50, flex 0.80; dense is faster here (flex)")
    assert "in kernel" in line_of(row_of(planner_inside=True, planner_ms=None))
    assert "dense is faster" not in line_of(row_of(kind="baseline", ratios={"sdpa": 0.5}))


def test_quartiles_by_hand() -> None:
    timing = machine.timing_of(9.0, [4.0, 1.0, 3.0, 2.0, 5.0])
    assert (timing.first_ms, timing.low_ms, timing.ms, timing.high_ms, timing.repeats) == (9.0, 2.0, 3.0, 4.0, 5)
    assert machine.timing_of(9.0, [4.0]).ms == 4.0


def test_baselines_that_cannot_run_say_why(monkeypatch: pytest.MonkeyPatch) -> None:
    q = torch.randn(1, 1, 32, 16)
    known = baselines.baselines()
    assert list(known)[:5] == ["sdpa", "sdpa flash", "sdpa efficient", "sdpa cudnn", "sdpa math"]
    assert {"flex", "xformers", "flash-attn 2", "flash-attn 3"} <= set(known)
    said = baselines.attempt(lambda: known["sdpa cudnn"](q, q, q), CPU, 1)
    assert isinstance(said, str) and "No viable backend" in said
    monkeypatch.setattr(baselines, "free_bytes", lambda device: 1000)
    said = baselines.attempt(lambda: known["sdpa math"](q, q, q), CPU, 1)
    assert isinstance(said, str) and said.startswith("it stores all logits: ")
    monkeypatch.setitem(sys.modules, "xformers.ops", None)
    monkeypatch.setitem(sys.modules, "flash_attn", None)
    assert baselines.attempt(lambda: known["xformers"](q, q, q), CPU, 1) == "xformers is not installed"
    said = baselines.attempt(lambda: known["flash-attn 2"](q, q, q), CPU, 1)
    assert said == "the package flash_attn is not installed"


def test_other_packages_get_their_own_layout(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tokens before heads, and the result back again; a tuple's first."""

    def attend(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, None]:
        assert q.shape == (1, 7, 3, 16)
        out = F.scaled_dot_product_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2))
        return out.transpose(1, 2), None

    monkeypatch.setitem(sys.modules, "flash_attn_interface", SimpleNamespace(flash_attn_func=attend))
    q, k, v = torch.randn(3, 1, 3, 7, 16)
    out = baselines.baselines()["flash-attn 3"](q, k, v)
    torch.testing.assert_close(out, F.scaled_dot_product_attention(q, k, v))


def test_warnings_tell_the_reason_of_a_failure() -> None:

    def fails() -> None:
        warnings.warn("Flash attention needs 16 bits (Triggered internally at x.cpp)", stacklevel=1)
        raise RuntimeError("No available kernel.\nmore")

    assert baselines.attempt(fails, CPU, 1) == "No available kernel. Flash attention needs 16 bits"


def test_bad_settings_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="there is no mask called 'bands'; did you mean 'band'?"):
        bench.AttentionConfig(masks=("bands",))
    with pytest.raises(UsageError, match="impl='flexx' is unknown; did you mean 'flex'?"):
        bench.AttentionConfig(impl="flexx")  # type: ignore[arg-type]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UsageError, match="device 'cuda' is not available on this machine; leave --device out"):
        machine.choose_device("cuda")
