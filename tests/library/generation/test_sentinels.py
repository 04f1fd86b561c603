"""Sentinels: NaN at every stage ends the run by name, with its usual cause; black and constant frames are noted."""

from pathlib import Path
from typing import Any

import families
import numpy as np
import pytest
import torch

import genkit
from genkit.apps.cli import main
from genkit.errors import NotFiniteError, UsageError
from genkit.generation.sentinels import notes_on

PROMPT = "a red circle"


def asked(name: str) -> dict[str, Any]:
    return {key: value for key, value in families.sizes(name).items() if key not in ("prompt", "negative_prompt")}


def broken(out: Any, value: float) -> Any:
    """What a decoder gave, alone or beside its cache, with another value everywhere."""
    return (torch.full_like(out[0], value), *out[1:]) if isinstance(out, tuple) else torch.full_like(out, value)


def decoding(pipe: Any, change: Any) -> None:
    """Let ``change`` have the frames ``[B, C, T, H, W]`` (of an image VAE ``[T, C, H, W]``) that the decoder makes."""
    decode = pipe.vae.decode

    def changed(*words: Any, **named: Any) -> Any:
        out = decode(*words, **named)
        change(out[0] if isinstance(out, tuple) else out.sample)
        return out

    pipe.vae.decode = changed


@pytest.mark.parametrize("name", list(families.FAMILIES))
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_decoder_that_gives_no_numbers_ends_the_run_by_name(name: str, value: float) -> None:
    pipe = families.FAMILIES[name]()
    handle = pipe.vae.decoder.register_forward_hook(lambda module, words, out: broken(out, value))
    with pytest.raises(
        NotFiniteError, match=r"^NaN in the frames: the decoder \(Autoenc.*, float32\) gave NaN"
    ) as caught:
        genkit.generate(pipe, PROMPT, seed=1, **asked(name))
    assert not isinstance(caught.value, UsageError) and "\n" not in str(caught.value)
    assert "after the last step" in str(caught.value) and "the usual cause is weights in float16" in str(caught.value)
    handle.remove()
    assert genkit.generate(pipe, PROMPT, seed=1, **asked(name)).receipt.notes == ()


@pytest.mark.parametrize("frame", [0, 3, 16])
def test_one_broken_frame_is_enough_and_is_named(frame: int) -> None:
    pipe = families.FAMILIES["wan"]()
    decoding(pipe, lambda frames: frames[:, 1, frame, 5, 5].fill_(float("nan")))
    with pytest.raises(NotFiniteError, match=f"in 1 of 17 frames, the first is frame {frame},"):
        genkit.generate(pipe, PROMPT, seed=1, **asked("wan"))


def test_the_usual_cause_is_named_where_it_is_there() -> None:
    pipe = families.FAMILIES["wan"]()
    decoding(pipe, lambda frames: frames.fill_(float("nan")))
    pipe.vae.to(torch.float16)
    with pytest.raises(
        NotFiniteError, match=r"float16, which overflows above 65504: use dtype='bfloat16' .*pipe\.vae\.to"
    ):
        genkit.generate(pipe, PROMPT, seed=1, **asked("wan"))


@pytest.mark.parametrize("name", list(families.FAMILIES))
def test_an_encoder_that_gives_no_numbers_ends_the_run_before_the_first_step(name: str) -> None:
    pipe, steps = families.FAMILIES[name](), []
    part = pipe.text_encoder
    with torch.no_grad():
        for weight in part.parameters():
            weight.fill_(float("nan"))
    with pytest.raises(
        NotFiniteError, match=r"^NaN in the text: the text encoder \(.*, float32\) gave NaN or infinity"
    ):
        genkit.generate(pipe, PROMPT, seed=1, on_event=lambda event: steps.append(event.step), **asked(name))
    assert steps == [], "the first step was made all the same"
    assert "encode_prompt" not in pipe.__dict__


def test_with_a_timeline_too() -> None:
    pipe = families.FAMILIES["wan"]()
    with torch.no_grad():
        next(pipe.text_encoder.parameters()).fill_(float("nan"))
    with genkit.apply(pipe, genkit.Timeline()) as handle, pytest.raises(NotFiniteError, match="NaN in the text"):
        handle.generate("a red circle | a blue square", seed=1, **asked("wan"))
    assert "encode_prompt" not in pipe.__dict__


@pytest.mark.parametrize(
    ("change", "note"),
    [
        (
            lambda frames: frames.fill_(-1),
            "black frames: all 17 frames are black; if that was not asked for, the usual",
        ),
        (lambda frames: frames[:, :, 2:4].fill_(-1), "black frames: 2 of 17 frames, the first is frame 2, are black"),
        (lambda frames: frames.fill_(0.5), "frames of one colour: all 17 frames are of one colour"),
        (
            lambda frames: frames[:, :, 7:8].fill_(1),
            "frames of one colour: 1 of 17 frames, the first is frame 7, is of",
        ),
        (lambda frames: frames.copy_(frames[:, :, :1].expand_as(frames)), "a frozen video: all 17 frames are the same"),
    ],
)
def test_frames_that_are_seldom_meant_are_noted_and_kept(change: Any, note: str) -> None:
    pipe = families.FAMILIES["wan"]()
    decoding(pipe, change)
    video = genkit.generate(pipe, PROMPT, seed=1, **asked("wan"))
    assert len(video.receipt.notes) == 1 and video.receipt.notes[0].startswith(note)
    assert video.frames.shape[0] == 17


def test_a_colour_is_told_from_black_and_from_a_picture() -> None:
    navy = np.zeros((3, 8, 8, 3), dtype=np.float32)
    navy[..., 2] = 0.3
    assert [note.split(":")[0] for note in notes_on(navy)] == ["frames of one colour"]
    one = navy[:1].copy()
    assert "the only frame is of one colour" in next(notes_on(one))
    one[0, 0, 0, 0] = 0.5
    assert list(notes_on(one)) == []
    moving = np.random.default_rng(0).random((3, 8, 8, 3), dtype=np.float32)
    assert list(notes_on(moving)) == []


@pytest.mark.parametrize(("value", "code"), [(float("nan"), 1), (-1.0, 0)])
def test_on_the_command_line(
    value: float, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    pipe = families.FAMILIES["wan"]()
    decoding(pipe, lambda frames: frames.fill_(value))
    monkeypatch.setattr("genkit.making.load", lambda *words, **options: pipe)
    monkeypatch.chdir(tmp_path)
    words = "--num-frames 5 --height 48 --width 64 --steps 1 --set max_sequence_length=16 -o clip.mp4"
    assert main(["generate", PROMPT, *words.split()]) == code
    said = capsys.readouterr()
    if code:
        assert said.err.startswith("genkit: NaN in the frames: the decoder") and said.err.count("\n") == 1
        assert list(tmp_path.iterdir()) == []
    else:
        assert "! note     black frames: all 5 frames are black" in said.out
