"""The receipt: exact as data, readable as text."""

import json
import platform
from collections import Counter
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from genkit.attention.calls.run import RunRecord
from genkit.record.fields import plain
from genkit.record.receipt import Attention, Receipt, Seconds, peak_memory_bytes, versions


def run() -> RunRecord:
    record = RunRecord(routed=Counter({"blocks.0.attn1": 40, "blocks.1.attn1": 40}))
    for density in (0.25, 0.5, 0.3):
        record.sparse("Radial", density)
    for backend in ("flex", "flex", "dense"):
        record.count_backend(backend)
    for layer, step in (("blocks.0.attn1", 4), ("blocks.0.attn1", 5), ("blocks.1.attn1", 4), ("blocks.1.attn1", 9)):
        record.refused("Radial", "its mask is not known", layer, step)
    record.refused("FreeLong", "fewer frames than the window", "blocks.1.attn1", 7)
    record.note("num_frames=66 became 65, because this model makes 4k+1 frames")
    return record


def receipt(**more: object) -> Receipt:
    record = run()
    fields = {
        "model": "tiny",
        "family": "Wan 2.1",
        "pipeline": "WanPipeline",
        "device": "cpu",
        "dtype": "float32",
        "seed": 2**63 - 1,
        "frames_asked": 66,
        "frames": 65,
        "height": 64,
        "width": 96,
        "fps": 16,
        "arguments": {"num_inference_steps": 20, "guidance_scale": 1 / 3, "size": (2, 3), "kind": torch.bfloat16},
        "plugins": ("freenoise", "radial:density=0.3"),
        "attention": Attention.from_run(record),
        "notes": tuple(record.notes),
        "seconds": Seconds(load=0.5, denoise=12.25, per_step=0.6125, decode=0.1 + 0.2, total=12.75),
        "peak_memory_bytes": 3 * 2**29,
        "started": "2026-01-02T03:04:05+00:00",
        "versions": versions(),
    }
    return Receipt.model_validate(fields | more)


def test_a_run_is_summed_up() -> None:
    attention = Attention.from_run(run())
    density = attention.densities["Radial"]
    assert (density.calls, density.mean, density.min, density.max) == (3, pytest.approx(0.35), 0.25, 0.5)
    assert (attention.layers, attention.calls) == (2, 80)
    assert attention.backends == {"flex": 2, "dense": 1}
    radial, freelong = attention.refusals
    assert (radial.plugin, radial.calls, radial.layers) == ("Radial", 4, ("blocks.0.attn1", "blocks.1.attn1"))
    assert radial.steps == (4, 5, 9)
    assert (freelong.reason, freelong.calls, freelong.steps) == ("fewer frames than the window", 1, (7,))


def test_a_run_without_plugins_is_empty() -> None:
    assert Attention.from_run(RunRecord()) == Attention()


def test_json_comes_back_exactly() -> None:
    first = receipt()
    again = Receipt.model_validate_json(first.model_dump_json())
    assert again == first
    assert Receipt.model_validate(json.loads(json.dumps(first.model_dump(mode="json")))) == first
    assert again.seconds.decode == 0.1 + 0.2 and again.seed == 2**63 - 1


def test_arguments_become_values_that_json_can_hold() -> None:
    values = {
        "a": (1, 2.5),
        "n": np.float64(0.5),
        "i": np.int32(3),
        "p": Path("x"),
        "nan": float("nan"),
        5: [None, True],
    }
    expected = {"a": [1, 2.5], "n": 0.5, "i": 3, "p": "x", "nan": "nan", "5": [None, True]}
    assert plain(values) == expected == json.loads(json.dumps(plain(values)))
    assert receipt().arguments["kind"] == "torch.bfloat16"


@pytest.mark.parametrize(
    ("change", "message"),
    [({"sede": 1}, "sede"), ({"fps": float("nan")}, "finite number"), ({"seed": "seven"}, "seed"),
     ({"attention": {"cals": 1}}, "cals")],
)  # fmt: skip
def test_what_does_not_belong_is_refused(change: dict, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        receipt(**change)


def test_a_receipt_cannot_be_changed_but_noted() -> None:
    first = receipt()
    with pytest.raises(ValidationError, match="frozen"):
        first.seed = 1
    assert first.with_note("one more").notes == (*first.notes, "one more")
    assert len(first.notes) == 1


def test_every_field_says_what_it_is() -> None:
    schema = Receipt.model_json_schema()
    for model in (schema, *schema["$defs"].values()):
        silent = [name for name, field in model["properties"].items() if not field.get("description")]
        assert not silent, model["title"]


def test_the_table() -> None:
    text = str(receipt(versions={"python": "3.11", "torch": "2.13.0"}))
    assert text == "\n".join(
        [
            "model      tiny (Wan 2.1, WanPipeline)",
            "video      65 frames (66 were asked for) of 64x96, 16 fps, 4.06 s",
            "seed       9223372036854775807",
            "arguments  num_inference_steps=20, guidance_scale=0.3333333333333333, size=[2, 3],",
            "           kind=torch.bfloat16",
            "plug-ins   freenoise",
            "           radial:density=0.3",
            "attention  80 calls in 2 layers; run by flex 2, dense 1",
            "density    Radial: 0.350 on average (0.250 to 0.500) over 3 sparse calls",
            "time       load 0.50 s, denoise 12.25 s (0.613 s a step), decode 0.30 s, total 12.75 s",
            "memory     1.50 GiB at most, of the whole process",
            "device     cpu, float32",
            "made with  python 3.11, torch 2.13.0",
            "started    2026-01-02T03:04:05+00:00",
            "! refused  Radial, 4 calls in 2 layers, steps 4-5, 9: its mask is not known",
            "! refused  FreeLong, 1 call in blocks.1.attn1, step 7: fewer frames than the window",
            "! note     num_frames=66 became 65, because this model makes 4k+1 frames",
        ]
    )


def test_long_values_stay_aligned() -> None:
    lines = str(receipt(notes=("a very long note " * 20,))).splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("! note"))
    assert len(lines) > start + 2
    assert all(line.startswith(" " * 11 + "a" if line[11] == "a" else " " * 11) for line in lines[start + 1 :])
    assert max(map(len, lines)) <= 100


def test_a_bare_receipt_has_no_empty_rows() -> None:
    bare = Receipt(
        model="x", pipeline="P", device="cuda:0", dtype="bfloat16", seed=0, frames=1, height=8, width=8, fps=8,
        started="now",
    )  # fmt: skip
    labels = [line[:11].strip() for line in str(bare).splitlines()]
    assert labels == ["model", "video", "seed", "plug-ins", "device", "made with", "started"]


def test_versions_are_those_installed() -> None:
    found = versions()
    assert found["python"] == platform.python_version()
    assert found["torch"] == torch.__version__ and found["genkit-video"] == version("genkit-video")


def test_peak_memory_is_in_bytes_and_never_falls() -> None:
    before = peak_memory_bytes("cpu")
    held = np.ones(64 * 2**20, np.uint8)
    after = peak_memory_bytes("cpu")
    assert before is not None and after is not None
    assert 2**24 < before <= after < 2**40 and after >= held.nbytes
