"""The report in a real browser: players in step, one scrubber for all, no request to anywhere."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import PATIENCE, chromium, opened, photographed
from test_report import HOSTILE, comparison
from tree import TOP

from genkit.benchmarks.report.media import strip_uri, video_uri
from genkit.benchmarks.report.page import Clip, render
from genkit.video.video import Video

__all__ = ["chromium"]
pytestmark = pytest.mark.slow

FRAMES, FPS = 17, 8.0
VIDEOS = "[...document.querySelectorAll('.take:not([hidden]) video')]"
PLACES = f"{VIDEOS}.map(video => video.currentTime)"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sides and three takes; a white bar moves right in each clip, the second is shorter."""
    folder, found = tmp_path_factory.mktemp("report"), comparison(takes=3, prompt=HOSTILE)
    rows = []
    for count in (FRAMES, FRAMES - 4):
        frames = np.zeros((count, 32, 48, 3), np.uint8)
        for t in range(count):
            frames[t, :, 2 * t : 2 * t + 6] = 255
        video = Video(frames, FPS)
        clip = Clip(video=video_uri(video), strip=strip_uri(frames), file=f"{count}.mp4", seconds=count / FPS, fps=FPS)
        rows.append([clip] * 3)
    (folder / "report.html").write_text(render(found, rows, "Comparison: plain · other"), "utf-8")
    return folder / "report.html"


def until(page: Any, holds: str) -> None:
    """Wait for an expression to be true; Playwright's own way wants `eval`, which the page forbids."""
    for _ in range(PATIENCE // 100):
        if page.evaluate(holds):
            return
        page.wait_for_timeout(100)
    raise AssertionError(f"never true: {holds}")


@pytest.fixture
def page(chromium: Any, report: Path) -> Iterator[Any]:
    """The report, open."""
    with watched(chromium, report) as page:
        yield page


@contextmanager
def watched(browser: Any, report: Path) -> Iterator[Any]:
    """A report, open; at the end no script has failed and nothing was fetched from outside the file."""
    asked: list[str] = []
    page = opened(browser, "about:blank")
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: page.errors.append(message.text) if message.type == "error" else None)
    page.goto(report.as_uri())
    until(page, f"{VIDEOS}.every(video => video.readyState >= 2 && !video.seeking)")
    yield page
    assert page.errors == []
    assert asked[0] == report.as_uri() and all(url.startswith(("data:", "blob:")) for url in asked[1:])
    page.context.close()


def test_all_players_follow_one_button(page: Any) -> None:
    assert page.evaluate(PLACES) == pytest.approx([0.5 / FPS] * 2)
    page.click("#play")
    until(page, f"{PLACES}.every(place => place > 0.5)")
    assert page.text_content("#play") == "Pause"
    page.click("#play")
    until(page, f"{VIDEOS}.every(video => video.paused && !video.seeking)")
    first, second = page.evaluate(PLACES)
    assert second == pytest.approx(min(first, (FRAMES - 4.5) / FPS), abs=1e-3)
    assert page.input_value("#place") == str(round(first * FPS - 0.5))


def test_one_scrubber_moves_all_to_the_same_frame(page: Any) -> None:
    page.focus("#place")
    for _ in range(4):
        page.keyboard.press("ArrowRight")
    assert page.evaluate(PLACES) == pytest.approx([4.5 / FPS] * 2)
    assert page.text_content("#clock") == "0.50 s"
    page.click("#next")
    page.click("#back")
    page.click("#back")
    assert page.input_value("#place") == "3"
    page.focus("#place")
    page.keyboard.press("End")
    assert page.evaluate(PLACES) == pytest.approx([(FRAMES - 0.5) / FPS, (FRAMES - 4.5) / FPS]), "the shorter one waits"
    share = page.evaluate(
        """() => { const drawing = document.querySelector('.curves'), {left, right} = drawing.dataset;
        return (drawing.querySelector('.now').getAttribute('x1') - left) / (right - left); }"""
    )
    assert share == pytest.approx((FRAMES - 0.5) / FRAMES, abs=0.01), "the mark in the curves follows"


def test_the_frame_that_is_shown_is_the_one_that_is_named(page: Any) -> None:
    """The bar stands where the frame of the scrubber has it, in both players."""
    page.focus("#place")
    for _ in range(7):
        page.keyboard.press("ArrowRight")
    until(page, f"{VIDEOS}.every(video => !video.seeking)")
    middles = page.evaluate(
        """() => [...document.querySelectorAll('.take:not([hidden]) video')].map(video => {
        const canvas = document.createElement('canvas');
        canvas.width = 48; canvas.height = 1;
        const context = canvas.getContext('2d');
        context.drawImage(video, 0, 0, 48, 1);
        const red = [...context.getImageData(0, 0, 48, 1).data].filter((_, index) => index % 4 === 0);
        return red.reduce((sum, value, x) => sum + value * (x + 0.5), 0) / red.reduce((sum, value) => sum + value, 0);
        })"""
    )
    assert middles == pytest.approx([17, 17], abs=0.7)


def test_another_take_is_shown_alone(page: Any) -> None:
    assert page.locator(".take:visible").count() == 1
    page.select_option("#take", "2")
    assert page.locator(".take:visible").count() == 1 and page.locator(".take").nth(2).is_visible()
    assert page.evaluate(PLACES) == pytest.approx([0.5 / FPS] * 2)


def test_what_users_typed_did_nothing(page: Any) -> None:
    assert page.title() == "Comparison: plain · other" and "</script>" in page.text_content("h3")


def test_it_looks_right_in_light_dark_and_on_a_phone(page: Any) -> None:
    assert photographed(page, "report") == []


def test_the_report_of_the_documentation_plays(chromium: Any) -> None:
    path = TOP / "docs" / "report" / "index.html"
    with watched(chromium, path) as page:
        names = [text.strip() for text in page.locator(".take:visible .players figcaption").all_text_contents()]
        interpolated = "position-interpolation"
        assert names == ["plain", interpolated, f"{interpolated} + radial:density=0.5", "windows", "freenoise"]
        page.click("#play")
        until(page, f"{PLACES}.every(place => place > 0.2)")
        assert photographed(page, "comparison") == []
