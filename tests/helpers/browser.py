"""A headless Chromium of this machine, for tests that look at a page as a person does."""

import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from tree import TOP

NAMES = ("chromium", "chromium-browser", "google-chrome")
SCREENSHOTS = TOP / "outputs" / "screenshots"
"""Where pictures for people go; git does not know them."""
DESK, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
PATIENCE = 300_000
"""Milliseconds that a page may take for anything: this is no measurement, and machines are busy."""


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """The browser; tests that need it are skipped where there is none.

    One for each module: its driver keeps an event loop running in this thread, which other tests must not find.
    """
    driver = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip(f"needs a browser: one of {', '.join(NAMES)}, such as Debian's package chromium")
    with driver.sync_playwright() as playwright:
        # Containers rarely allow the sandbox, and everything opened here was made by the tests.
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


def opened(browser: Any, address: str) -> Any:
    """A new tab, in a session of its own, with the errors of its scripts in ``errors``."""
    page = browser.new_context(viewport=DESK, color_scheme="light", accept_downloads=True).new_page()
    page.set_default_timeout(PATIENCE)
    page.errors = []
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    page.goto(address)
    return page


def photographed(page: Any, name: str) -> list[str]:
    """Take pictures in light, dark and phone width; returns where the page is wider than the screen."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    too_wide = []
    for look, scheme, size in (("dark", "dark", DESK), ("phone", "light", PHONE), ("light", "light", DESK)):
        page.emulate_media(color_scheme=scheme)
        page.set_viewport_size(size)
        page.wait_for_timeout(500)  # for what moves to its place
        page.screenshot(path=SCREENSHOTS / f"{name}-{look}.png", full_page=True)
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        if wide > 0:
            too_wide.append(f"{name}-{look} by {wide} pixels")
    return too_wide
