"""The page as a person meets it: `genkit ui`, its real worker and the embedded model, driven in a headless Chromium."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import PATIENCE, chromium, opened, photographed

from genkit.apps.jobs.store import Job, Store
from genkit.tiny import TINY_WEIGHTS
from genkit.video.video import read, read_request

__all__ = ["chromium"]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not TINY_WEIGHTS.exists(), reason="the embedded model's weights are not there"),
]
PLAYS = """video => video.src.includes(job) && video.videoWidth > 0 && !video.paused && video.currentTime > 0"""
"""Whether a video element plays the video of a job."""
EVIL = "<img src=x onerror=window.harm=1> ../../etc ${window.harm=1} {{7*7}} '; touch harm #"
SLOW = 200
"""Solver steps of a video that takes long enough to do something meanwhile."""


@dataclass
class Served:
    """`genkit ui` in a process of its own."""

    address: str
    store: Store

    def newest(self) -> Job:
        return self.store.jobs(limit=1)[0]

    def number(self) -> int:
        """How many jobs were begun so far."""
        return max((job.number for job in self.store.jobs(limit=1)), default=0)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    pytest.importorskip("gradio", reason="the page needs gradio")
    folder = tmp_path_factory.mktemp("browser") / "out"
    program = f"from genkit.apps.cli import main; raise SystemExit(main(['ui', '--output', {str(folder)!r}]))"
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = process.stdout.readline()
        assert "the page; videos are saved in" in said, said
        yield Served(said.split(": ")[0], Store(folder))
        process.terminate()


@pytest.fixture
def page(chromium: Any, served: Served) -> Iterator[Any]:
    page = opened(chromium, served.address)
    says(page, "it was trained on 17", "#num_frames-message")  # what the page says of itself once it is alive
    yield page
    assert page.evaluate("window.harm") is None and page.errors == []
    page.context.close()


def until(condition: Callable[[], bool]) -> None:
    """Wait for what happens in another process."""
    end = time.monotonic() + PATIENCE / 1000
    while not condition():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.1)


def says(page: Any, text: str, place: str = "#status") -> None:
    page.locator(place, has_text=text).wait_for()


def field(page: Any, name: str) -> Any:
    return page.locator(f"#{name}").locator("input, textarea").first


def click(page: Any, **texts: str) -> None:
    """Fill fields in, by their ids, and click on the button."""
    for name, text in texts.items():
        field(page, name).fill(text)
    page.get_by_role("button", name="Make a video").click()


def begun(page: Any, served: Served, **texts: str) -> Job:
    """The job that a click began."""
    before = served.number()
    click(page, **texts)
    until(lambda: served.number() > before)
    return served.newest()


def played(page: Any, served: Served, job: Job) -> Job:
    """The job as it is when its video plays."""
    says(page, "Done.")
    page.wait_for_function(f"job => [...document.querySelectorAll('#player video')].some({PLAYS})", arg=job.id)
    return served.store.job(job.id)


def test_one_click_gives_a_playing_video(page: Any, served: Served) -> None:
    job = played(page, served, begun(page, served))
    assert page.locator("#receipt textarea").input_value() == job.receipt
    assert page.locator("#preview img").count() == 0, "the preview stayed"
    assert photographed(page, "done") == []


def test_two_prompts_over_time(page: Any, served: Served) -> None:
    first, second = (
        f"a large {thing} on a navy background" for thing in ("red circle moves right", "blue square spins")
    )
    field(page, "prompt").fill(f"{first} | {second}")
    says(page, "0.00 to 1.06 s, then 1.06 to 2.12 s", "#prompt-message")
    assert page.get_by_label("Timeline (arXiv").is_checked(), "the bar did not tick the timeline"
    job = begun(page, served)
    assert played(page, served, job).request.plugins == ("timeline",)
    assert photographed(page, "timeline") == []


def test_a_conflict_is_told_at_once_beside_both_and_makes_no_job(page: Any, served: Served) -> None:
    before = served.number()
    page.get_by_label("FreeLong (arXiv").check()
    page.get_by_label("FreeNoise (arXiv").check()
    for name in ("freelong", "freenoise"):
        says(page, "freelong and freenoise cannot be combined", f"#{name}-message")
    click(page, seed="seven", num_frames="18")
    says(page, "'seven' is not a seed", "#seed-message")
    says(page, "18 frames: the embedded model makes 2k + 1 frames", "#num_frames-message")
    says(page, "No job was started; check: ", "#make-message")
    assert photographed(page, "wrong") == []
    page.get_by_label("FreeNoise (arXiv").uncheck()
    page.locator("#freelong-message", has_text="cannot be combined").wait_for(state="detached")
    field(page, "seed").fill("7")
    field(page, "num_frames").fill("17")
    page.locator("#make-message", has_text="No job was started").wait_for(state="detached")
    assert served.number() == before


def test_frames_are_shown_while_they_are_made_and_a_reload_finds_them(page: Any, chromium: Any, served: Served) -> None:
    page.get_by_role("button", name="More").click()
    job = begun(page, served, num_inference_steps=str(SLOW))
    says(page, f"of {SLOW}, ")
    page.locator("#preview img").wait_for()
    page.wait_for_function("document.querySelector('#preview img')?.naturalWidth == 64")
    assert photographed(page, "running") == []
    page.reload()
    says(page, f"of {SLOW}")
    second = opened(chromium, served.address)
    second.locator("#preview img").wait_for()
    second.get_by_role("button", name="Cancel").click()
    for tab in (second, page):
        says(tab, "Cancelled.")
        tab.locator("#preview img").wait_for(state="detached")
    ended = served.store.job(job.id)
    assert ended.status == "cancelled" and ended.step < SLOW
    assert not served.store.video(ended).exists()
    until(lambda: not served.store.making.exists())
    second.context.close()


def test_settings_come_back_from_a_downloaded_video(page: Any, served: Served, tmp_path: Path) -> None:
    page.get_by_label("Radial Attention (arXiv").check()
    page.get_by_role("button", name="Parameters of radial").click()
    texts = {"prompt": "a small blue square spins on a white background", "seed": str(2**63 - 1), "num_frames": "9"}
    job = played(page, served, begun(page, served, **texts))
    assert job.request.plugins == ("radial",), "parameters that were only looked at have changed"
    with page.expect_download() as downloading:
        page.locator("#player a[download]").first.click()
    film = tmp_path / "downloaded.mp4"
    downloading.value.save_as(film)
    assert read_request(film)["seed"] == 2**63 - 1
    page.reload()
    says(page, "it was trained on 17", "#num_frames-message")
    assert field(page, "seed").input_value() == ""
    with page.expect_file_chooser() as choosing:
        page.locator("#load-file").click()
    choosing.value.set_files(film)
    says(page, "Settings loaded.", "#settings-message")
    assert {name: field(page, name).input_value() for name in texts} == texts
    assert page.get_by_label("Radial Attention (arXiv").is_checked()
    assert photographed(page, "loaded") == []


def test_what_is_typed_stays_a_text(page: Any, served: Served) -> None:
    click(page, prompt=EVIL, seed=EVIL[:20])
    says(page, EVIL[:20], "#seed-message")
    job = begun(page, served, seed="1", num_frames="1")
    page.wait_for_function(f"document.querySelector('#player video')?.src.includes('{job.id}')")
    says(page, "onerror=window.harm=1", "#gallery")
    done = served.store.job(job.id)
    film = served.store.video(done)
    assert done.request.prompt == read_request(film)["prompt"] == EVIL
    assert film.parent == served.store.folder and film.name.endswith(f"-{job.id}.mp4")
    assert not [path for path in served.store.folder.parent.rglob("*") if "harm" in path.name]


def test_a_video_from_the_gallery_is_watched_and_made_again(page: Any, served: Served) -> None:
    oldest = served.store.jobs("done")[-1]
    page.locator("#gallery button img").last.click()
    page.wait_for_function(f"document.querySelector('#player video')?.src.includes('{oldest.id}')")
    page.get_by_role("button", name="Load its settings").click()
    says(page, "Settings loaded.", "#settings-message")
    assert field(page, "seed").input_value() == str(oldest.request.seed)
    before = served.number()
    page.get_by_role("button", name="Make it again").click()
    until(lambda: served.number() > before)
    again = played(page, served, served.newest())
    assert again.id != oldest.id and again.request == oldest.request
    videos = (read(served.store.video(job)).frames for job in (oldest, again))
    assert np.array_equal(*videos), "the same request made another video"


def test_many_tabs_of_one_browser_all_work(page: Any, served: Served) -> None:
    """A browser has six connections to one page, and none of them is held by a tab that only looks."""
    tabs = [page.context.new_page() for _ in range(7)]
    for tab in tabs:
        tab.set_default_timeout(PATIENCE)
        tab.goto(served.address)
        tab.wait_for_selector("#status .state")
    for tab in (tabs[-1], page):
        answered = "fetch('/config', {signal: AbortSignal.timeout(60000)}).then(answer => answer.status, () => 0)"
        assert tab.evaluate(answered) == 200, "the tabs hold every connection"
    for tab in tabs:
        tab.close()
