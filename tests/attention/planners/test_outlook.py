"""What will not run as asked is told before the first step, in an event, on the command line and in the receipt."""

import re

import families
import numpy as np
import pytest

import genkit
from genkit.apps.cli import main

SHORT = {"num_frames": 17, "height": 48, "width": 64, "num_inference_steps": 4, "max_sequence_length": 16, "seed": 3}
IDLE = [
    ([genkit.Radial()], "radial: every call is dense, because 60 tokens are fewer than min_tokens=256"),
    ([genkit.SVG(min_tokens=1, dense_layers=9)], "svg: every call is dense, as dense_steps, dense_sigma and dense_lay"),
    (
        [genkit.SVG(min_tokens=1, dense_steps=1.0)],
        "svg: every call is dense, as dense_steps, dense_sigma and dense_lay",
    ),
    ([genkit.FrameAnchors(min_tokens=1)], "frame-anchors: every call is dense, because 5 latent frames are no more"),
    ([genkit.FreeNoise(window=2, stride=1), genkit.Radial(min_tokens=50)], "radial: .* because 24 tokens are fewer"),
    ([genkit.FreeNoise(window=2, stride=1), genkit.Radial(min_tokens=20)], None),
    ([genkit.Radial(min_tokens=1)], None),
    ([genkit.Radial(min_tokens=1, dense_steps=0.75, dense_layers=2)], None),
    ([genkit.Threshold(min_tokens=1, recall=0.9)], None),
    ([], None),
]


@pytest.mark.parametrize(("plugins", "note"), IDLE, ids=lambda value: str(value)[:25])
def test_a_method_that_will_do_nothing_is_told_before_the_first_step(plugins, note):
    pipe, events = families.FAMILIES["wan"](), []
    with genkit.apply(pipe, *plugins) as handle:
        video = handle.generate("a red circle", on_event=events.append, **SHORT)
    first = next(number for number, event in enumerate(events) if event.stage == "denoise")
    told = [sentence for event in events[:first] for sentence in event.notes]
    assert [sentence for event in events[first:] for sentence in event.notes] == []
    if note is None:
        assert told == [] and set(video.receipt.attention.densities) <= {"radial", "threshold"}
        assert bool(video.receipt.attention.densities) == bool(plugins)
    else:
        assert len(told) == 1 and re.match(note, told[0]) and told[0] in video.receipt.notes
        assert not video.receipt.attention.densities


@pytest.mark.parametrize("name", ["hunyuan", "cogvideox", "mochi", "ltx", "wan22"])
def test_what_is_told_before_is_what_the_receipt_tells_after(name):
    pipe = families.FAMILIES[name]()
    asked = {key: value for key, value in families.sizes(name).items() if "prompt" not in key}
    for least in (1, 10**6):
        with genkit.apply(pipe, genkit.Radial(min_tokens=least, dense_steps=0, dense_layers=0)) as handle:
            receipt = handle.generate("a red circle", seed=1, **asked).receipt
        idle = any(note.startswith("radial: every call is dense") for note in receipt.notes)
        assert idle == (not receipt.attention.densities) == (least > 1)


@pytest.mark.parametrize(
    ("plugin", "note"),
    [
        (genkit.FreeNoise(), "freenoise: 5 latent frames fit into one window of 21, so it changes nothing"),
        (genkit.FreeLong(), "freelong: 5 latent frames are no more than the 21 of the training, so it changes nothing"),
        (genkit.FreeNoise(window=2, stride=1), None),
    ],
)
def test_windows_that_hold_the_whole_video_are_told_before_the_first_step(plugin, note):
    pipe, events = families.FAMILIES["wan"](), []
    plain = genkit.generate(pipe, "a red circle", **SHORT)
    with genkit.apply(pipe, plugin) as handle:
        video = handle.generate("a red circle", on_event=events.append, **SHORT)
    told = [sentence for event in events if event.stage == "encode" for sentence in event.notes]
    assert told == ([] if note is None else [note]) == list(video.receipt.notes)
    assert np.array_equal(video.frames, plain.frames) == (note is not None)


def budget_of(tmp_path, layers, method="sparge"):
    from genkit.plugins.budget import Budget

    return str(Budget(method=method, layers=layers).save(tmp_path / "budget.json"))


def test_a_budget_that_makes_every_layer_refuse_is_told_before_the_first_step(tmp_path):
    """Morton's order mixes frames, which FreeLong's windows of frames cannot have."""
    pipe, told = families.FAMILIES["wan"](), []
    layers = {f"transformer.blocks.{number}.attn1": {"order": "morton"} for number in range(3)}
    sparge = genkit.SpargeAttention(min_tokens=1, dense_steps=0.24, dense_layers=0, budget=budget_of(tmp_path, layers))
    with genkit.apply(pipe, genkit.FreeLong(until=0.25, near=1), sparge) as handle:
        video = handle.generate(
            "a red circle", on_event=lambda event: told.extend(event.notes), **SHORT | {"num_frames": 97}
        )
    assert [note for note in told if note.startswith("sparge: every call is dense, because it orders tokens across")]
    assert not video.receipt.attention.densities


def test_a_budget_for_another_model_is_refused_before_the_run(tmp_path):
    pipe = families.FAMILIES["wan"]()
    layers = {"transformer.blocks.0.attn1": {}, "transformer.blocks.39.attn1": {"density": 0.5}}
    sentence = "sparge: the budget sets transformer.blocks.39.attn1, which this model does not have"
    with pytest.raises(genkit.UsageError, match=sentence):
        genkit.apply(pipe, genkit.SpargeAttention(budget=budget_of(tmp_path, layers)))
    assert not hasattr(pipe, "_genkit_handle")


def test_a_method_that_left_nothing_out_says_so_in_the_receipt():
    pipe = families.FAMILIES["wan"]()
    for density, noted in ((1.0, True), (0.5, False)):
        sparse = genkit.Radial(min_tokens=1, block=16, density=density)
        with genkit.apply(pipe, sparse) as handle:
            receipt = handle.generate("a red circle", **SHORT).receipt
        said = any(note.startswith("radial: nothing was left out, as all its calls kept") for note in receipt.notes)
        assert said == noted == (receipt.attention.densities["radial"].min > 0.9995)


def test_looking_ahead_leaves_nothing_behind_and_changes_nothing():
    pipe = families.FAMILIES["wan"]()
    plain = genkit.generate(pipe, "a red circle", **SHORT)
    with genkit.apply(pipe, genkit.Radial()) as handle:
        for _ in range(2):
            assert np.array_equal(handle.generate("a red circle", **SHORT).frames, plain.frames)
        assert handle.session.watchers == []


def test_a_bar_without_timeline_is_told_before_the_first_step():
    pipe, events = families.FAMILIES["wan"](), []
    genkit.generate(pipe, "a red circle | a blue square", on_event=events.append, **SHORT)
    assert "the prompt contains '|' but there is no timeline plug-in" in events[0].notes[0] and events[0].step == 0


def test_the_command_line_tells_it_before_the_first_step(monkeypatch, capsys, tmp_path):
    pipe, seen = families.FAMILIES["wan"](), []
    monkeypatch.setattr("genkit.making.load", lambda *words, **options: pipe)
    monkeypatch.chdir(tmp_path)
    step = pipe.scheduler.step
    pipe.scheduler.step = lambda *words, **named: seen.append(capsys.readouterr().err) or step(*words, **named)
    words = "--num-frames 5 --height 48 --width 64 --steps 2 --set max_sequence_length=16 --with radial -o clip.mp4"
    assert main(["generate", "a | b", *words.split()]) == 0
    notes = seen[0].splitlines()
    assert notes[0].startswith("genkit: note: the prompt contains '|' but there is no timeline plug-in")
    assert notes[1].startswith("genkit: note: radial: every call is dense, because 24 tokens are fewer than")
    assert len(notes) == 2 and seen[1] == ""
