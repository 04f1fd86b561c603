"""The page as it is served, with a real worker process whose maker is fake, and a client in the place of a browser."""

import html
import json
import os
import signal
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from genkit.apps.door import serve
from genkit.apps.jobs.keeper import Keeper
from genkit.apps.jobs.store import AGAIN, Store
from genkit.apps.page.form import defaults
from genkit.video.video import Video

EVIL = '<img src=x onerror=alert(1)> ../../../etc & "quotes" \'; rm -rf'
WORKER = """
import sys, time
from pathlib import Path
import numpy as np
from genkit.apps.jobs.store import Store
from genkit.apps.jobs.worker import end_with_input, work
from genkit.generation.events import Progress
from genkit.video.video import Video

def maker(request, on_event, models):
    for step in range(1, 4):
        on_event(Progress(step=step, total=3, seconds=step, left=60.0 * (3 - step)))
        while "wait" in request.prompt:
            time.sleep(0.05)
            on_event(Progress(step=step, total=3, seconds=step, left=60.0 * (3 - step)))
    asked = request.model_dump(mode="json", exclude_none=True) | {"seed": 42}
    return Video(np.full((2, 16, 16, 3), 90, np.uint8), 8.0, asked)

end_with_input()
work(Store(Path(sys.argv[1])), maker)
"""


@dataclass
class Live:
    """A page that is being served."""

    page: Any
    store: Store
    keeper: Keeper
    keys: list[str]

    def tab(self) -> "Tab":
        from gradio_client import Client

        return Tab(Client(self.page.local_url, verbose=False, httpx_kwargs={"timeout": 120}), self.keys)

    def view(self) -> Any:
        from genkit.apps.page.view import View

        return View(self.store, lambda: True)

    def get(self, path: str) -> int:
        try:
            with urllib.request.urlopen(f"{self.page.local_url}{path}", timeout=120) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code


@dataclass
class Tab:
    """One browser tab: a session of its own."""

    client: Any
    keys: list[str]
    shown: dict[str, Any] = field(default_factory=dict)
    """What stands on it; the server sends only what has changed."""

    def make(self, **changes: Any) -> list[str]:
        """Fill the form in and click; ``__`` stands for the dot of a parameter."""
        values = defaults() | {key.replace("__", "."): value for key, value in changes.items()}
        return list(self.client.predict(*(values[key] for key in self.keys), api_name="/make"))

    def look(self, until: str, seconds: float = 240) -> dict[str, Any]:
        """What the tab shows as soon as its state says ``until``."""
        names = ("status", "preview", "player", "receipt", "gallery")  # the client leaves buttons out
        end = time.monotonic() + seconds
        while True:
            found = dict(zip(names, self.client.predict(api_name="/status"), strict=False))
            self.shown |= {name: value for name, value in found.items() if not _unchanged(value)}
            if until in self.shown["status"]:
                return self.shown
            assert time.monotonic() < end, f"still {self.shown['status']!r}"
            time.sleep(0.1)


def _unchanged(value: Any) -> bool:
    return isinstance(value, dict) and value.get("__type__") == "update"


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    gr = pytest.importorskip("gradio", reason="the page needs gradio")
    from genkit.apps.page.fields import Form, first_fields, other_fields

    form = Form()
    with gr.Blocks():
        first_fields(form)
        other_fields(form)
    store = Store(tmp_path_factory.mktemp("page") / "out")
    command = [sys.executable, "-c", WORKER, str(store.folder)]
    with serve.isolate(), Keeper(store, command) as keeper:
        page = serve.launch(store, keeper, "127.0.0.1", None)
        yield Live(page, store, keeper, list(form.fields))
        page.close()


def test_one_click_to_a_video(live: Live) -> None:
    from genkit.apps.page.view import PARTS

    tab = live.tab()
    assert not any("wrong" in said for said in tab.make(prompt=EVIL, seed="5"))
    tab.look("Done.")
    (made,) = live.store.jobs("done")
    assert made.request.prompt == EVIL and made.request.seed == 42
    shown = dict(zip(PARTS, live.view().look(made.id, {}), strict=False))
    assert f'src="video/{made.id}.mp4"' in shown["player"] and f'data-job="{made.id}"' in shown["gallery"]
    assert f'src="poster/{made.id}.jpg"' in shown["gallery"] and html.escape(f"{EVIL} (seed 42)") in shown["gallery"]
    assert EVIL not in shown["gallery"], "a prompt became HTML"
    assert live.store.video(made).parent == live.store.folder and made.id in live.store.video(made).name
    assert live.get(f"video/{made.id}.mp4") == live.get(f"poster/{made.id}.jpg") == 200


def test_what_is_wrong_makes_no_job(live: Live) -> None:
    before = live.store.jobs()
    said = live.tab().make(freelong=True, freenoise=True, seed=EVIL)
    assert sum("cannot be combined" in text for text in said) == 2
    assert sum("No job was started; check: freelong, freenoise, seed" in text for text in said) == 1
    assert sum("&lt;img" in text for text in said) == 1 and not any("<img" in text for text in said)
    assert live.store.jobs() == before


def test_a_second_tab_finds_the_running_job_and_cancels_it(live: Live) -> None:
    first = live.tab()
    first.make(prompt="wait")
    assert "2:00 left" in first.look("step 1 of 3")["status"]
    second = live.tab()
    second.client.predict(api_name="/newest")
    second.look("step 1 of 3")
    second.client.predict(api_name="/cancel")
    second.look("Cancelled.")
    first.look("Cancelled.")
    assert live.view()._state(live.store.jobs()[0], None)["player"] == "", "a video is shown of a job that has none"


def test_a_killed_worker_is_told_and_its_job_begun_again(live: Live) -> None:
    tab = live.tab()
    tab.make(prompt="wait")
    tab.look("step 1 of 3")
    assert live.keeper.process is not None
    os.kill(live.keeper.process.pid, signal.SIGKILL)
    assert "step" in tab.look(AGAIN[1:])["status"] or tab.look("step 1 of 3")
    tab.client.predict(api_name="/cancel")
    tab.look("Cancelled.")


def test_settings_come_back_from_a_job_and_from_a_file(live: Live, tmp_path: Path) -> None:
    from gradio_client import handle_file

    tab = live.tab()
    tab.make(prompt="a | b", timeline=True, num_frames=33, radial=True, radial__density=0.25)
    tab.look("Done.")
    *values, said = tab.client.predict(api_name="/load_settings")
    loaded = dict(zip(tab.keys, values, strict=True))
    assert loaded["prompt"] == "a | b" and loaded["num_frames"] == 33 and loaded["seed"] == "42"
    assert loaded["radial"] is True and loaded["radial.density"] == "0.25" and "Settings loaded." in said
    asked = {"prompt": EVIL, "seed": 9, "device": "cuda"}
    film = Video(np.zeros((2, 16, 16, 3), np.uint8), 8.0, asked).save(tmp_path / "film.mp4")
    *values, said = tab.client.predict(handle_file(str(film)), api_name="/load_file")
    assert dict(zip(tab.keys, values, strict=True))["prompt"] == EVIL and "device" in said
    (tmp_path / "no.mp4").write_bytes(b"no film")
    *values, said = tab.client.predict(handle_file(str(tmp_path / "no.mp4")), api_name="/load_file")
    assert "wrong" in said and str(tmp_path) not in said and "genkit-page" not in said
    assert all(_unchanged(value) for value in values)
    before = len(live.store.jobs())
    tab.client.predict(api_name="/rerun")
    tab.look("Done.")
    assert len(live.store.jobs()) == before + 1 and live.store.jobs()[0].request.seed == 42


def test_an_image_goes_from_a_browser_to_the_worker_and_is_served_to_nobody(live: Live, tmp_path: Path) -> None:
    from gradio_client import handle_file
    from PIL import Image

    Image.new("RGB", (64, 48), (90, 0, 0)).save(tmp_path / "mine.png")
    tab, model = live.tab(), "Wan-AI/Wan2.1-I2V-14B-480P-Diffusers"
    assert any("makes a video from a given image; choose one" in said for said in tab.make(model=model, num_frames=17))
    tab.make(model=model, num_frames=17, image=handle_file(str(tmp_path / "mine.png")))
    tab.look("Done.")
    made = live.store.jobs("done")[0]
    assert isinstance(made.request.image, dict) and made.request.image["file"] == "image.png"
    copy = live.store.inputs.of(made.id) / "image.png"
    assert copy.read_bytes() == (tmp_path / "mine.png").read_bytes()
    for path in (copy, f".page/inputs/{made.id}/image.png"):
        for way in ("gradio_api/file=", "file=", "", "video/"):
            assert live.get(f"{way}{path}") in (403, 404), (way, path)
    *values, said = tab.client.predict(api_name="/load_settings")
    assert dict(zip(tab.keys, values, strict=True))["model"] == model and "choose again" in said
    before = len(live.store.jobs())
    tab.client.predict(api_name="/rerun")
    tab.look("Done.")
    assert len(live.store.jobs()) == before + 1 and live.store.jobs()[0].request.image == made.request.image


@pytest.mark.parametrize("path", ["/etc/hostname", "{store}/.page/jobs.sqlite", "{tmp}/theirs.png"])
def test_a_path_of_this_machine_is_not_an_upload(path: str, live: Live, tmp_path: Path) -> None:
    """A client may send the path of any file in place of an upload; Gradio must not even copy it."""
    (tmp_path / "theirs.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    there = Path(path.format(store=live.store.folder, tmp=tmp_path))
    tab, before = live.tab(), live.store.jobs()
    values = defaults() | {"model": "Wan-AI/Wan2.1-I2V-14B-480P-Diffusers", "num_frames": 17, "image": in_place(there)}
    for name, data in (("make", [values[key] for key in tab.keys]), ("load_file", [in_place(there)])):
        assert run(live, name, data) >= 400
    assert live.store.jobs() == before
    assert not list(Path(os.environ["GRADIO_TEMP_DIR"]).rglob(there.name)), "a copy of it is in the uploads"


def test_settings_are_read_from_uploads_only(live: Live, tmp_path: Path) -> None:
    film = Video(np.zeros((2, 16, 16, 3), np.uint8), 8.0, {"prompt": "secret"}).save(tmp_path / "film.mp4")
    assert run(live, "load_file", [in_place(film)]) >= 400


def in_place(path: Path) -> dict[str, Any]:
    """What a browser sends of an uploaded file, with another path."""
    return {"path": str(path), "meta": {"_type": "gradio.FileData"}}


def run(live: Live, name: str, data: list[Any]) -> int:
    """The status of the answer to a call of the page by a program."""
    address, body = f"{live.page.local_url}gradio_api/run/{name}", json.dumps({"data": data}).encode()
    try:
        sent = urllib.request.Request(address, body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(sent, timeout=120) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_nothing_else_is_served(live: Live) -> None:
    """Files are given by the names of their jobs only, whatever lies in the folder."""
    tab = live.tab()
    tab.make(prompt="a")
    tab.look("Done.")
    made = live.store.jobs("done")[0]
    secret, folder = live.store.folder.parent / "secret.txt", live.store.folder
    for path in (secret, folder / ".netrc", folder / "mine.mp4", folder / f"2026-01-01-{'0' * 32}.mp4"):
        path.write_text("secret")
    hidden = live.store.state / "jobs.sqlite"
    assert hidden.is_file()
    dotted = f"{folder}/../secret.txt"
    for path in ("/etc/hostname", secret, hidden, live.store.state / "worker.log", dotted, Path(__file__),
                 live.store.video(made), folder / ".netrc", folder / "mine.mp4"):  # fmt: skip
        for way in ("gradio_api/file=", "gradio_api/file/", "gradio_api//file=", "file=", ""):
            assert live.get(f"{way}{path}") in (403, 404), (way, path)
    for name in ("0" * 32, "..", f"../{made.id}", "%2e%2e%2fsecret", f"{made.id}%00", f"..%2f{made.id}", made.id[:12]):
        assert live.get(f"video/{name}.mp4") in (403, 404), name
    live.store.video(made).unlink()
    live.store.video(made).symlink_to(secret)
    assert live.get(f"video/{made.id}.mp4") == 404, "a link led out of the folder"
    for path in (
        "docs",
        "openapi.json",
        "redoc",
        "gradio_api/openapi.json",
        "gradio_api/deep_link",
        "monitoring",
        "gradio_api/proxy=http://127.0.0.1",
        "gradio_api/runs",
        "gradio_api/vibe-code",
        "gradio_api/stream/a/b/c/playlist.m3u8",
        "gradio_api/dev/reload",
        "custom_component/a/b/c/d",
    ):
        assert live.get(path) in (403, 404), path


def test_a_job_that_is_gone_is_told(live: Live) -> None:
    from genkit.apps.page.view import PARTS

    shown = dict(zip(PARTS, live.view().look("0" * 32, {}), strict=False))
    assert "no longer exists" in shown["status"] and shown["player"] == ""
