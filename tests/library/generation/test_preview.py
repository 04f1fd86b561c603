"""The frames so far: what they are made of, that they change nothing, and that they cost little."""

import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import families
import numpy as np
import pytest
import torch
from PIL import Image

import genkit
from genkit.apps.jobs import preview as shown
from genkit.apps.jobs.preview import Preview, picture
from genkit.generation.events import Progress
from genkit.generation.preview import _estimate
from genkit.tiny import TINY_WEIGHTS
from genkit.video.video import Video

PROMPT = "a large red circle moves right on a navy background"
needs_weights = pytest.mark.skipif(not TINY_WEIGHTS.exists(), reason="the embedded model's weights are not there")


@pytest.fixture(scope="module")
def tiny() -> Any:
    return genkit.load("tiny", device="cpu", dtype="float32")


@needs_weights
def test_looking_changes_nothing_and_the_last_look_is_the_video(tiny: Any) -> None:
    seen: list[Video] = []

    def look(event: Progress) -> None:
        video = event.preview()
        if video is not None:
            seen.append(video)

    arguments: dict[str, Any] = {"seed": 4, "num_frames": 9, "num_inference_steps": 6}
    watched = genkit.generate(tiny, PROMPT, on_event=look, **arguments)
    plain = genkit.generate(tiny, PROMPT, **arguments)
    assert np.array_equal(watched.frames, plain.frames), "looking changed the video"
    assert len(seen) == 6 and all(video.frames.shape == plain.frames.shape for video in seen)
    assert seen[0].fps == plain.fps
    away = [float(np.abs(video.frames - plain.frames).mean()) for video in seen]
    assert away[-1] < 1e-3 < away[0] < 0.2, "the frames do not come to what the video becomes"


def test_the_clean_estimate_is_taken_where_the_solver_keeps_it() -> None:
    latents, clean = torch.ones(1, 2, 3, 4, 4), torch.zeros(1, 2, 3, 4, 4)

    def scheduler(predict_x0: bool, *kept: Any) -> Any:
        return SimpleNamespace(config=SimpleNamespace(predict_x0=predict_x0), model_outputs=list(kept))

    assert _estimate(scheduler(True, None, clean), latents) is clean
    assert _estimate(scheduler(False, None, clean), latents) is latents, "the velocity was taken for the video"
    assert _estimate(scheduler(True, None, clean[:, :, :2]), latents) is latents
    assert _estimate(scheduler(True, None, None), latents) is latents
    assert _estimate(SimpleNamespace(config=SimpleNamespace()), latents) is latents


def test_a_large_autoencoder_gives_no_preview_but_tells_each_piece_that_it_decodes() -> None:
    pipe = families.FAMILIES["wan"]()
    arguments = {k: v for k, v in families.sizes("wan").items() if "prompt" not in k}
    events: list[Progress] = []
    genkit.generate(pipe, "a red circle", seed=1, on_event=events.append, **arguments)
    assert all(event.preview() is None for event in events)
    stages = [event.stage for event in events]
    steps, latent_frames = arguments["num_inference_steps"], (arguments["num_frames"] - 1) // 4 + 1
    assert stages == ["denoise"] * steps + ["decode"] * (1 + latent_frames)

    def stop(event: Progress) -> None:
        if event.stage == "decode" and (pieces.append(event) or len(pieces) == 2):
            raise KeyboardInterrupt

    pieces: list[Progress] = []
    with pytest.raises(KeyboardInterrupt):
        genkit.generate(pipe, "a red circle", seed=1, on_event=stop, **arguments)
    assert len(pieces) == 2 and not pipe.vae.decoder._forward_pre_hooks


def clip(frames: int, height: int, width: int, fps: float = 8.0) -> Video:
    ramp = np.linspace(0, 1, frames * height * width * 3, dtype=np.float32)
    return Video(ramp.reshape(frames, height, width, 3), fps)


@pytest.mark.parametrize(
    ("video", "frames", "size", "duration"),
    [
        (clip(5, 16, 24), 5, (24, 16), 125),
        (clip(1, 16, 16), 1, (16, 16), None),
        (clip(65, 64, 64), 22, (64, 64), 375),
        (clip(2, 130, 400), 2, (100, 33), 125),
    ],
)
def test_a_picture_is_small_and_as_long_as_the_video(
    video: Video, frames: int, size: tuple[int, int], duration: int | None
) -> None:
    image = Image.open(io.BytesIO(picture(video)))
    assert (image.format, getattr(image, "n_frames", 1), image.size) == ("WEBP", frames, size)
    if duration is not None:
        image.seek(1)
        image.load()
        assert image.info["duration"] == duration and image.info["loop"] == 0
    wanted = video.uint8()[0, :: -(-video.frames.shape[1] // size[1]), :: -(-video.frames.shape[2] // size[0])]
    image.seek(0)
    assert np.abs(np.asarray(image.convert("RGB"), int) - wanted).mean() < 12


def test_pictures_are_rare_whole_and_of_steps_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, written, two = [100.0], [], clip(2, 8, 8)
    monkeypatch.setattr(shown.time, "monotonic", lambda: clock[0])
    path = tmp_path / "making" / "job.webp"
    preview = Preview(path)

    def at(moment: float, stage: str = "denoise", video: Video | None = two, cost: float = 0.0) -> None:
        def look() -> Video | None:
            written.append(moment)
            clock[0] += cost
            return video

        clock[0] = moment
        preview(Progress(step=1, total=2, seconds=0, left=0, stage=stage, preview=look))

    at(100.0, "decode")
    at(100.0, video=None)
    assert written == [100.0] and not path.exists()
    at(100.1)
    assert path.read_bytes() == picture(two) and [*path.parent.iterdir()] == [path]
    for moment in (100.2, 100.59, 100.61, 101.0):
        at(moment)
    assert written == [100.0, 100.1, 100.61]
    at(102.0, cost=1.0)
    at(112.9)
    at(113.1)
    assert written[-2:] == [102.0, 113.1], "pictures took more than their share of the time"


def test_a_picture_that_cannot_be_written_does_not_end_the_job(tmp_path: Path) -> None:
    (tmp_path / "making").touch()
    preview = Preview(tmp_path / "making" / "job.webp")
    preview(Progress(step=1, total=2, seconds=0, left=0, preview=lambda: clip(2, 8, 8)))
    assert (tmp_path / "making").read_bytes() == b""
