"""The page: what its form accepts and says, what it shows, and what it never lets out. The worker's maker is fake."""

import json
import os
import re
import signal
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pytest

from genkit import catalogue
from genkit.apps import page_form, page_models, page_plugins, page_serve, page_view
from genkit.apps.cli import main
from genkit.apps.jobs import AGAIN, Job, Store
from genkit.apps.keeper import Keeper
from genkit.apps.page_form import check, defaults, settings
from genkit.attention.cards import CARDS
from genkit.errors import UsageError
from genkit.loading import TINY_WEIGHTS
from genkit.plugin import Parts, Target
from genkit.request import Request
from genkit.video import Video

EVIL = "<script>alert('x')</script> & \"quotes\""
WORKER = """
import sys, time
from pathlib import Path
import numpy as np
from genkit.apps.jobs import Store
from genkit.apps.worker import end_with_input, work
from genkit.events import Progress
from genkit.video import Video

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


def filled(**changes: Any) -> dict[str, Any]:
    """The form with some fields filled in; ``__`` stands for the dot of a parameter."""
    return defaults() | {key.replace("__", "."): value for key, value in changes.items()}


def test_the_form_as_it_opens_needs_one_click() -> None:
    checked = check(defaults())
    assert checked.request == Request(prompt=page_form.PROMPT, model="tiny", num_frames=17)
    assert checked.wrong == {} and "17 frames are 2.1 s" in checked.hints["num_frames"]


def test_every_field_reaches_the_request() -> None:
    values = filled(
        prompt="a fox", negative_prompt="blur", model="Wan-AI/Wan2.1-T2V-1.3B-Diffusers", num_frames=33.0,
        seed="9223372036854775807", num_inference_steps=12.0, guidance_scale=4.5, height=96.0, width=128.0, fps=12.5,
        radial=True, radial__density=0.3, radial__block=64.0, radial__impl="flex", freenoise=True,
    )  # fmt: skip
    assert check(values).request == Request(
        prompt="a fox", negative_prompt="blur", model="Wan-AI/Wan2.1-T2V-1.3B-Diffusers", num_frames=33,
        seed=9223372036854775807, num_inference_steps=12, guidance_scale=4.5, height=96, width=128, fps=12.5,
        plugins=("freenoise", "radial:density=0.3,block=64,impl=flex"),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "key", "sentence"),
    [
        ({"prompt": "  "}, "prompt", "the prompt is ''; say in words"),
        ({"prompt": "x" * 4001}, "prompt", "4001 letters, and the page takes 4000"),
        ({"prompt": "a | b"}, "prompt", "tick timeline, or leave '|' out"),
        ({"prompt": "a | ", "timeline": True}, "prompt", "event 2 of 2 has no text"),
        ({"prompt": "[a", "timeline": True}, "prompt", "begins like a list of events in JSON and is none"),
        ({"prompt": "[1]", "timeline": True}, "prompt", "events are written as"),
        ({"prompt": '[{"prompt": "a"}]'}, "prompt", "tick timeline, which reads it"),
        ({"negative_prompt": "x" * 4001}, "negative_prompt", "4001 letters"),
        ({"model": "../../etc"}, "model", "does not offer the model '../../etc'"),
        ({"num_frames": 18.0}, "num_frames", r"18 frames: .* 2k \+ 1 frames; the nearest is 1[79]"),
        ({"num_frames": 17.5}, "num_frames", "17.5 frames"),
        ({"num_frames": 131.0}, "num_frames", "the page makes 1 to 129 frames"),
        ({"num_frames": float("nan")}, "num_frames", "the page makes 1 to 129 frames"),
        ({"seed": "seven"}, "seed", "'seven' is no seed; give a whole number"),
        ({"seed": "9223372036854775808"}, "seed", "whole number from 0 to"),
        ({"seed": "١"}, "seed", "is no seed"),
        ({"height": 64.5}, "height", "height=64.5 must be a whole number"),
        ({"width": 1e9}, "width", "from 16 to 2048"),
        ({"fps": float("nan")}, "fps", "fps=nan must be a number from 1 to 120"),
        ({"num_inference_steps": 0}, "num_inference_steps", "from 1 to 200"),
        ({"radial": True, "radial.density": 2.0}, "radial", r"density=2.0 must lie in \(0, 1\]"),
        ({"radial": True, "radial.dense_layers": 1.5}, "radial", "dense_layers=1.5 is not of type int"),
        ({"timeline": True, "timeline.everywhere": 'it\'s "a"'}, "timeline", "cannot hold both kinds of quotes"),
        ({"freelong": True, "freenoise": True}, "plugins", "freelong and freenoise cannot be combined: both plan"),
    ],
)
def test_a_wrong_field_is_told_beside_the_field(changes: dict[str, Any], key: str, sentence: str) -> None:
    checked = check(defaults() | changes)
    assert checked.request is None and list(checked.wrong) == [key]
    assert re.search(sentence, checked.wrong[key]), checked.wrong[key]


def test_a_comma_in_a_text_sets_no_other_parameter() -> None:
    checked = check(defaults() | {"timeline": True, "timeline.everywhere": "a,tail=9"})
    assert checked.request is not None
    (plugin,) = (catalogue.parse(text) for text in checked.request.plugins)
    assert plugin.everywhere == "a,tail=9" and plugin.tail == type(plugin)().tail


def test_everything_wrong_is_told_at_once() -> None:
    checked = check(filled(prompt="", seed="x", num_frames=18, fps=0, radial=True, radial__decay=0))
    assert set(checked.wrong) == {"prompt", "seed", "num_frames", "fps", "radial"}


def test_a_field_that_a_browser_left_out_keeps_its_default() -> None:
    assert check({"prompt": "a fox"} | dict.fromkeys(defaults().keys() - {"prompt"})).request == Request(
        prompt="a fox", model="tiny", num_frames=17
    )


def test_a_timeline_shows_its_times() -> None:
    assert check(filled(prompt="a | b", timeline=True)).hints["prompt"] == "0.00 to 1.06 s, then 1.06 to 2.12 s"
    events = [{"prompt": "a", "start": 0, "end": 0.5}, {"prompt": "b", "start": 0.5, "end": 2.0}]
    checked = check(filled(prompt=json.dumps(events), timeline=True))
    assert checked.request is not None and checked.request.prompt == events
    assert checked.hints["prompt"] == "0.00 to 0.50 s, then 0.50 to 2.00 s"


@dataclass(frozen=True, kw_only=True)
class Probe:
    """A plug-in that nobody has heard of."""

    name: ClassVar[str] = "probe"
    title: ClassVar[str] = "Probe"
    paper: ClassVar[str] = "none"
    seams: ClassVar[tuple[str, ...]] = ()

    on: bool = False
    """Whether."""
    kind: Literal["soft", "hard"] = "soft"
    """Which."""
    count: int | None = None
    """How many."""
    share: float = 0.5
    """How much."""
    words: str = "none"
    """What."""
    needed: int
    """Without it, nothing."""

    def parts(self, target: Target) -> Parts:
        return Parts()


def test_a_new_plug_in_appears_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(catalogue.PLUGINS, "probe", f"{__name__}:Probe")
    fields = {field.name: field for field in page_plugins.fields("probe")}
    kinds = {name: field.kind for name, field in fields.items()}
    assert kinds == {
        "on": "flag", "kind": "choice", "count": "number", "share": "number", "words": "text", "needed": "number",
    }  # fmt: skip
    assert fields["kind"].choices == ("soft", "hard") and fields["share"].default == 0.5
    assert [fields[name].whole for name in ("count", "share", "needed")] == [True, False, True]
    assert defaults()["probe"] is False and defaults()["probe.words"] == "none"
    assert "fill in every field" in check(filled(probe=True)).wrong["probe"]
    values = filled(probe=True, probe__on=True, probe__kind="hard", probe__count=3.0, probe__needed=1.0)
    request = check(values).request
    assert request is not None
    assert catalogue.parse(request.plugins[0]) == Probe(on=True, kind="hard", count=3, needed=1)


def test_settings_of_a_request_make_the_same_request() -> None:
    request = Request(
        prompt=[{"prompt": "ein Würfel | x", "start": 0}, {"prompt": "b", "start": 1.0}], negative_prompt="c",
        num_frames=33, seed=2**62, fps=9.5, height=80, guidance_scale=1.0, num_inference_steps=3,
        plugins=("freelong:until=0.5,noise=plain", "radial:density=0.3,block=64", "timeline:tail=0.0"),
    )  # fmt: skip
    values, notes = settings(request.model_dump(mode="json", exclude_none=True))
    assert values.keys() == defaults().keys() and notes == []
    assert check(values).request == request.model_copy(update={"model": "tiny"})


def test_settings_from_a_file_are_not_trusted() -> None:
    values, notes = settings({"prompt": EVIL, "device": "cuda:7", "options": {"output_type": "pt"}, "seed": 3})
    assert notes == ["not taken over, because the page does not set it: device, options"]
    request = check(values).request
    assert request is not None and request.device is None and request.options == {}
    for wrong, sentence in [
        ({"prompt": "a", "model": "/etc"}, "does not offer the model '/etc'"),
        ({"prompt": "a", "plugins": ["evil"]}, "no plug-in called 'evil'"),
        ({"prompt": "a", "path": "/etc"}, "the settings in this file cannot be used: path"),
        ({}, "the settings in this file cannot be used: prompt"),
    ]:
        with pytest.raises(UsageError, match=sentence):
            settings(wrong)


def test_lengths_are_known_for_every_family() -> None:
    assert set(page_models.FRAME_STEPS) == {card.family for card in CARDS} - {"tiny"}
    for card in CARDS:
        assert page_models.check_length(card, None) == card.native_frames
        assert page_models.check_length(card, float(card.native_frames)) == card.native_frames
    assert page_models.names()[0] == "tiny" and len(set(page_models.names())) == len(page_models.names())


@pytest.mark.skipif(not TINY_WEIGHTS.exists(), reason="the embedded model's weights are not there")
def test_the_embedded_models_lengths_are_those_of_its_autoencoder() -> None:
    from genkit.tiny.autoencoder import PatchAutoencoder

    config = PatchAutoencoder.load_config(TINY_WEIGHTS / "vae")
    assert page_models.frame_step(page_models.card_of("tiny")) == config["scale_factor_temporal"]


def job(**changes: Any) -> Job:
    values: dict[str, Any] = {
        "number": 1, "id": "0" * 12, "status": "queued", "request": Request(prompt="a"), "created": 0.0,
        "changed": 0.0, "attempts": 0, "cancel": False, "stage": "", "step": 0, "total": 0, "time_left": 0.0,
        "note": "", "error": "", "receipt": "",
    }  # fmt: skip
    return Job(**values | changes)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({}, "Waiting: 2 jobs before this one."),
        ({"status": "running", "stage": "load"}, "Loading the model."),
        (
            {"status": "running", "stage": "denoise", "step": 5, "total": 20, "time_left": 65.2},
            "Making the video, step 5 of 20, 1:05 left.",
        ),
        ({"status": "running", "stage": "save", "step": 20, "total": 20}, "Writing the file."),
        ({"status": "running", "stage": "denoise", "cancel": True}, "Stopping within this step."),
        ({"status": "failed", "error": "no memory"}, "Failed: no memory"),
        ({"status": "cancelled"}, "Cancelled."),
        ({"status": "done"}, "Done."),
    ],
)
def test_what_is_said_of_a_job(changes: dict[str, Any], sentence: str) -> None:
    assert f">{sentence}</p>" in page_view.status(job(**changes), ahead=2)


def test_no_text_becomes_html() -> None:
    checked = check(filled(seed=EVIL))
    request = Request(prompt=EVIL)
    said = [
        page_view.status(job(status="failed", error=EVIL, note=EVIL, request=request)),
        page_view.message(checked, "seed"),
        page_view.paragraph("hint", EVIL),
    ]
    for html in said:
        assert "<script" not in html and "&lt;script&gt;" in html and 'class="' in html
    assert "worker process" in page_view.status(job(), worker=False)
    assert page_view.NOTHING in page_view.status(None)


def test_an_open_address_demands_a_password(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for host in ("127.0.0.1", "127.0.0.2", "::1", "localhost"):
        assert page_serve.checked_access(host, None) is None
    for host in ("0.0.0.0", "192.168.1.5", "::", "example.org"):
        with pytest.raises(UsageError, match=r"opens the page to other machines, so it needs --auth FILE"):
            page_serve.checked_access(host, None)
    monkeypatch.chdir(tmp_path)
    assert main(["ui", "--host", "0.0.0.0"]) == 2
    assert "--auth FILE" in capsys.readouterr().err and list(tmp_path.iterdir()) == []
    accounts = tmp_path / "accounts"
    accounts.write_text("ann:pass:word\n\nbob:x\n")
    assert page_serve.checked_access("0.0.0.0", accounts) == [("ann", "pass:word"), ("bob", "x")]
    for text in ("", "ann", "ann:", ":x", "ann: "):
        accounts.write_text(text)
        with pytest.raises(UsageError, match="must hold lines of the form name:password"):
            page_serve.checked_access("0.0.0.0", accounts)
    with pytest.raises(UsageError, match="cannot be read"):
        page_serve.checked_access("0.0.0.0", tmp_path / "missing")


def test_the_page_works_in_an_empty_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", dict(os.environ))
    before = Path.cwd()
    with page_serve.isolated() as empty:
        assert Path.cwd().samefile(empty) and list(empty.iterdir()) == []
        assert os.environ["GRADIO_ANALYTICS_ENABLED"] == "False"
        assert Path(os.environ["GRADIO_TEMP_DIR"]).is_dir()
    assert Path.cwd() == before and not empty.exists()


# From here on with a real server, a real worker process with a fake maker, and a client in the place of a browser.


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
        from genkit.apps.page_look import View

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
        values = filled(**changes)
        return list(self.client.predict(*(values[key] for key in self.keys), api_name="/make"))

    def look(self, until: str, seconds: float = 240) -> dict[str, Any]:
        """What the tab shows as soon as its state says ``until``."""
        names = ("status", "player", "receipt", "gallery")  # the client leaves buttons out
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
    gr = pytest.importorskip("gradio", reason="the page needs pip install 'genkit-video[ui]'")
    from genkit.apps.page_fields import laid_out

    with gr.Blocks():
        keys = list(laid_out().fields)
    store = Store(tmp_path_factory.mktemp("page") / "out")
    command = [sys.executable, "-c", WORKER, str(store.folder)]
    with page_serve.isolated(), Keeper(store, command) as keeper:
        page = page_serve.launched(store, keeper, "127.0.0.1", None)
        yield Live(page, store, keeper, keys)
        page.close()


def test_one_click_to_a_video(live: Live) -> None:
    tab = live.tab()
    assert not any("wrong" in said for said in tab.make(prompt=EVIL, seed="5"))
    tab.look("Done.")
    (made,) = live.store.jobs("done")
    assert made.request.prompt == EVIL and made.request.seed == 42
    _, _, player, _, gallery, listed, _ = live.view().look(made.id, {})
    assert player == str(live.store.video(made)) and listed == [made.id]
    assert gallery == [(str(live.store.poster(made)), f"{EVIL} (seed 42)")]
    assert live.get(f"gradio_api/file={live.store.video(made)}") == 200


def test_what_is_wrong_makes_no_job(live: Live) -> None:
    before = live.store.jobs()
    said = live.tab().make(freelong=True, freenoise=True, seed=EVIL)
    assert sum("cannot be combined" in text for text in said) == 1
    assert sum("&lt;script&gt;" in text for text in said) == 1 and not any("<script" in text for text in said)
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
    assert live.view().look(live.store.jobs()[0].id, {})[2] is None, "a video is shown of a job that has none"


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
    assert loaded["radial"] is True and loaded["radial.density"] == 0.25 and "Settings loaded." in said
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


def test_nothing_else_is_served(live: Live) -> None:
    secret = live.store.folder.parent / "secret.txt"
    secret.write_text("secret")
    hidden = live.store.state / "jobs.sqlite"
    assert hidden.is_file()
    dotted = f"{live.store.folder}/../secret.txt"
    for path in ("/etc/hostname", secret, hidden, live.store.state / "worker.log", dotted, Path(__file__)):
        assert live.get(f"gradio_api/file={path}") in (403, 404), path
    config = live.page.config
    assert not live.page.share and live.page.server_name == "127.0.0.1" and not live.page.analytics_enabled
    assert "analytics_enabled" not in config or not config["analytics_enabled"]
