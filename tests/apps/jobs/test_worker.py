"""The worker with the embedded model: from a submitted job to a file, and how it stops in each stage."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import genkit
from genkit.apps.jobs.store import Job, Store
from genkit.apps.jobs.worker import Models, work
from genkit.errors import GenkitError
from genkit.generation.events import Progress
from genkit.request import Request
from genkit.tiny import TINY_WEIGHTS
from genkit.video.video import Video, read, read_request

pytestmark = pytest.mark.skipif(not TINY_WEIGHTS.exists(), reason="the embedded model's weights are not there")
ASKED = Request(
    prompt="a large red circle moves right on a navy background", num_frames=9, num_inference_steps=4, seed=6,
    device="cpu", dtype="float32", plugins=("freenoise",),
)  # fmt: skip


@pytest.fixture(scope="module")
def models() -> Models:
    """Open already, as in a worker that has begun."""
    models = Models()
    models.pipe(ASKED)
    return models


class Watched(Store):
    """A store that keeps what is told of a job, and what a page could show then."""

    cancel_in = ""

    def progress(self, job: Job, event: Progress) -> bool:
        seen: list[tuple[str, int, bool]] = self.__dict__.setdefault("seen", [])
        seen.append((event.stage, event.step, self.preview(job).is_file()))
        assert not self.video(job).exists(), "something is shown before it is finished"
        if event.stage == self.cancel_in:
            self.cancel(job.id)
        return super().progress(job, event)


def test_a_job_becomes_a_file_with_its_receipt(tmp_path: Path, models: Models) -> None:
    store = Watched(tmp_path / "out")
    job = store.submit(ASKED)
    work(store, models=models, once=True)
    done = store.job(job.id)
    assert (done.status, done.error, done.step, done.total) == ("done", "", 4, 4)
    stages = [stage for stage, _, _ in store.seen]
    assert stages == ["load", "encode", "encode", *["denoise"] * 4, "decode", "save"], "the second tells of the windows"
    assert [shown for stage, _, shown in store.seen if stage == "denoise"] == [True] * 4, "no frames were shown"
    assert not store.making.exists()
    film = store.video(done)
    recipe = read_request(film)
    assert Request.model_validate(recipe) == done.request and recipe["seed"] == 6
    assert "freenoise" in done.receipt and "17 frames" not in done.receipt and "9 frames of 64x64" in done.receipt
    plain = genkit.make(ASKED, pipe=models.pipe(ASKED))
    file = read(film)
    assert file.receipt is not None and file.receipt.plugins == plain.receipt.plugins
    away = np.abs(file.uint8()[:, ::4, ::4].astype(int) - plain.uint8()).mean()
    assert len(file.frames) == 9 and away < 6, "the file does not hold the video"


@pytest.mark.parametrize("stage", ["load", "encode", "denoise", "decode", "save"])
def test_a_cancel_acts_in_every_stage(tmp_path: Path, models: Models, stage: str) -> None:
    store = Watched(tmp_path / "out")
    store.cancel_in = stage
    job = store.submit(ASKED.model_copy(update={"num_frames": 5, "num_inference_steps": 2, "plugins": ()}))
    work(store, models=models, once=True)
    assert store.job(job.id).status == "cancelled"
    assert store.seen[-1][0] == stage and [seen for seen, _, _ in store.seen].count(stage) == 1
    assert [path.name for path in store.folder.iterdir()] == [".page"] and not store.making.exists()


@pytest.mark.parametrize("there", [True, False])
def test_the_embedded_model_is_opened_before_the_first_click(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: bool
) -> None:
    story: list[str] = []

    def pipe(self: Models, request: Request) -> None:
        story.append(f"open {request.model}")
        if not there:
            raise GenkitError("the embedded model's weights are missing")

    def maker(request: Request, on_event: Any, models: Models) -> Video:
        story.append("make")
        return Video(np.zeros((2, 16, 16, 3), np.uint8), 8.0, {"prompt": "a"})

    monkeypatch.setattr(Models, "pipe", pipe)
    store = Store(tmp_path / "out")
    job = store.submit(ASKED)
    work(store, maker, once=True, warm=True)
    assert story == ["open tiny", "make"] and store.job(job.id).status == "done"
