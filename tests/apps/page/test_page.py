"""The page without a server: what its form accepts and says, what it shows of a job, and whom it lets in."""

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest

from genkit.apps.cli import main
from genkit.apps.door import serve
from genkit.apps.jobs import models
from genkit.apps.jobs.store import Job
from genkit.apps.page import form, plugin_fields
from genkit.apps.page import html as page_view
from genkit.apps.page.form import check, defaults, settings
from genkit.errors import UsageError
from genkit.pipelines.known import checkpoints
from genkit.plugins import catalogue
from genkit.plugins.contract import Parts, Target
from genkit.request import Request
from genkit.tiny import TINY_WEIGHTS

EVIL = "<script>alert('x')</script> & \"quotes\""


def filled(**changes: Any) -> dict[str, Any]:
    """The form with some fields filled in; ``__`` stands for the dot of a parameter."""
    return defaults() | {key.replace("__", "."): value for key, value in changes.items()}


def test_the_form_as_it_opens_needs_one_click() -> None:
    checked = check(defaults())
    assert checked.request == Request(prompt=form.PROMPT, model="tiny", num_frames=17)
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
        ({"prompt": "x" * 4001}, "prompt", "4001 characters, and the page accepts 4000"),
        ({"prompt": "a | b"}, "prompt", "tick timeline, or remove '|'"),
        ({"prompt": "a | ", "timeline": True}, "prompt", "event 2 of 2 has no text"),
        ({"prompt": "[a", "timeline": True}, "prompt", "starts like a list of events but is not valid JSON"),
        ({"prompt": "[1]", "timeline": True}, "prompt", "events are written as"),
        ({"prompt": '[{"prompt": "a"}]'}, "prompt", "tick timeline, which reads it"),
        ({"negative_prompt": "x" * 4001}, "negative_prompt", "4001 characters"),
        ({"model": "../../etc"}, "model", "does not offer the model '../../etc'"),
        ({"num_frames": 18.0}, "num_frames", r"18 frames: .* 2k \+ 1 frames; the nearest is 1[79]"),
        ({"num_frames": 17.5}, "num_frames", "17.5 frames"),
        ({"num_frames": 131.0}, "num_frames", "the page makes 1 to 129 frames"),
        ({"num_frames": float("nan")}, "num_frames", "the page makes 1 to 129 frames"),
        ({"seed": "seven"}, "seed", "'seven' is not a seed; give a whole number"),
        ({"seed": "18446744073709551616"}, "seed", "whole number from 0 to"),
        ({"seed": "١"}, "seed", "is not a seed"),
        ({"height": 64.5}, "height", "height=64.5 must be a whole number"),
        ({"width": 1e9}, "width", "from 16 to 2048"),
        ({"fps": float("nan")}, "fps", "fps=nan must be a number from 1 to 120"),
        ({"num_inference_steps": 0}, "num_inference_steps", "from 1 to 200"),
        (
            {"num_inference_steps": "201"},
            "num_inference_steps",
            "num_inference_steps=201 must be a number from 1 to 200",
        ),
        ({"guidance_scale": "strong"}, "guidance_scale", "'strong' is not a number"),
        ({"guidance_scale": "nan"}, "guidance_scale", "guidance_scale=nan must be a number"),
        ({"radial": True, "radial.density": 2.0}, "radial", r"density=2.0 must be in \(0, 1\]"),
        ({"radial": True, "radial.dense_layers": 1.5}, "radial", "dense_layers=1.5 is not of type int"),
        ({"timeline": True, "timeline.everywhere": 'it\'s "a"'}, "timeline", "cannot contain both kinds of quotes"),
    ],
)
def test_a_wrong_field_is_told_beside_the_field(changes: dict[str, Any], key: str, sentence: str) -> None:
    checked = check(defaults() | changes)
    assert checked.request is None and list(checked.wrong) == [key]
    assert re.search(sentence, checked.wrong[key]), checked.wrong[key]


@pytest.mark.parametrize(("text", "value"), [("", None), ("  ", None), (" 12 ", 12), ("12.0", 12), ("1e1", 10)])
def test_a_number_that_may_be_missing_is_a_text(text: str, value: int | None) -> None:
    request = check(filled(num_inference_steps=text)).request
    assert request is not None and request.num_inference_steps == value
    assert check(filled(guidance_scale="4.5")).request.guidance_scale == 4.5  # type: ignore[union-attr]


def test_an_empty_parameter_of_a_plug_in_keeps_its_default() -> None:
    (empty,) = [
        field for field in plugin_fields.fields("freenoise") if field.kind == "number" and field.default is None
    ][:1]
    for text, plugin in (("", "freenoise"), ("4", f"freenoise:{empty.name}=4")):
        request = check(filled(freenoise=True) | {empty.key: text}).request
        assert request is not None and request.plugins == (plugin,)
    assert "'x' is not a number" in check(filled(freenoise=True) | {empty.key: "x"}).wrong["freenoise"]


def test_a_conflict_is_told_beside_both_plug_ins() -> None:
    checked = check(filled(freelong=True, freenoise=True, freenoise__window=0))
    assert checked.request is None and set(checked.wrong) == {"freelong", "freenoise"}
    sentence = "freelong and freenoise cannot be combined: both change the noise"
    assert checked.wrong["freelong"].startswith(sentence) and sentence in checked.wrong["freenoise"]
    assert "window=0" in checked.wrong["freenoise"], "the conflict hides what else is wrong"


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
    claims: ClassVar[frozenset[str]] = frozenset()

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
    fields = {field.name: field for field in plugin_fields.fields("probe")}
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
    assert notes == ["ignored, because the page does not set it: device, options"]
    request = check(values).request
    assert request is not None and request.device is None and request.options == {}
    for wrong, sentence in [
        ({"prompt": "a", "model": "/etc"}, "does not offer the model '/etc'"),
        ({"prompt": "a", "plugins": ["evil"]}, "no plug-in called 'evil'"),
        ({"prompt": "a", "path": "/etc"}, "the settings in this file cannot be used: a request has no field 'path'"),
        ({}, "the settings in this file cannot be used: the request has no prompt; give one"),
    ]:
        with pytest.raises(UsageError, match=sentence):
            settings(wrong)


def test_lengths_are_known_for_every_family() -> None:
    steps = {card.family: card.frame_step for card in checkpoints()}
    assert steps == {
        "tiny": 2, "wan": 4, "wan2.2": 4, "wan2.2-5b": 4, "wan2.2-i2v": 4, "wan-flf2v": 4, "wan-i2v": 4,
        "lucy-edit": 4, "wan-vace": 4, "wan-animate": 4, "chronoedit": 4, "anyflow": 4, "skyreels-v2": 4,
        "skyreels-v2-i2v": 4, "skyreels-v2-df": 4, "helios": 1, "hunyuanvideo": 4, "cogvideox": 8, "cogvideox1.5": 8,
        "ltx": 8, "mochi": 6, "animatediff": 1, "text-to-video-sd": 1,
        "hunyuanvideo-i2v": 4, "cogvideox-i2v": 8, "cogvideox1.5-i2v": 8, "ltx2": 8, "ltx2.3": 8, "ltx2.5": 8,
        "skyreels-v1": 4, "framepack": 4, "hunyuanvideo1.5": 4, "consisid": 8,
        "kandinsky5": 4, "kandinsky5-10s": 4, "kandinsky6": 4, "motif": 4, "allegro": 1, "latte": 1, "easyanimate": 4,
        "cosmos1": 8, "cosmos2": 4, "cosmos2.5": 4, "cosmos2.5-transfer": 4, "sana-video": 4, "sana-wm": 8,
        "svd": 1, "svd-xt": 1, "i2vgen-xl": 1, "cosmos3": 4, "minimax-h3": 17, "ltx-0.9.5": 8, "ltx-13b": 8,
    }  # fmt: skip
    for card in checkpoints():
        assert models.check_length(card, None) == card.native_frames
        assert models.check_length(card, float(card.native_frames)) == card.native_frames
    assert models.names()[0] == "tiny" and len(set(models.names())) == len(models.names())


@pytest.mark.skipif(not TINY_WEIGHTS.exists(), reason="the embedded model's weights are not there")
def test_the_embedded_models_lengths_are_those_of_its_autoencoder() -> None:
    from genkit.tiny.autoencoder import PatchAutoencoder

    config = PatchAutoencoder.load_config(TINY_WEIGHTS / "vae")
    assert models.card_of("tiny").frame_step == config["scale_factor_temporal"]


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
        ({"status": "running", "stage": "encode"}, "Reading the prompt."),
        ({"status": "running", "stage": "decode", "step": 20, "total": 20}, "Decoding the frames."),
        ({"status": "running", "stage": "load", "cancel": True}, "Stopping as soon as the model is open."),
        ({"status": "running", "stage": "decode", "cancel": True}, "Stopping after this piece."),
        ({"status": "running", "stage": "save", "step": 20, "total": 20}, "Writing the file."),
        ({"status": "running", "stage": "denoise", "cancel": True}, "Stopping within this step."),
        ({"status": "failed", "error": "no memory"}, "Failed: no memory"),
        ({"status": "cancelled"}, "Cancelled."),
        ({"status": "done"}, "Done."),
    ],
)
def test_what_is_said_of_a_job(changes: dict[str, Any], sentence: str) -> None:
    assert f">{sentence}</p>" in page_view.status(job(**changes), ahead=2)


def test_frames_are_shown_of_a_running_job_only() -> None:
    running = job(status="running", stage="denoise", step=1, total=2)
    html = page_view.preview(running, b"\x00frames")
    data = "data:image/webp;base64,AGZyYW1lcw=="
    assert re.fullmatch(rf'<img class="preview" decoding="sync" alt="[^"]+" src="{data}">', html)
    assert page_view.NO_PREVIEW in page_view.preview(running, None)
    for other in (None, job(), job(status="done"), job(status="failed"), job(status="cancelled")):
        assert page_view.preview(other, b"frames") == ""
    assert page_view.preview(job(status="running", stage="load"), None) == ""


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


def test_a_mark_of_byte_order_is_no_part_of_the_first_name(tmp_path: Path) -> None:
    """Editors on Windows write one; with it in her name the first person could not come in."""
    accounts = tmp_path / "accounts"
    accounts.write_text("ann:secret\nbob:word\n", "utf-8-sig")
    assert serve.check_access("0.0.0.0", accounts) == [("ann", "secret"), ("bob", "word")]


def test_an_open_address_demands_a_password(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for host in ("127.0.0.1", "127.0.0.2", "::1", "localhost"):
        assert serve.check_access(host, None) is None
    for host in ("0.0.0.0", "192.168.1.5", "::", "example.org"):
        with pytest.raises(UsageError, match=r"opens the page to other machines, so it needs --auth FILE"):
            serve.check_access(host, None)
    monkeypatch.chdir(tmp_path)
    assert main(["ui", "--host", "0.0.0.0"]) == 2
    assert "--auth FILE" in capsys.readouterr().err and list(tmp_path.iterdir()) == []
    accounts = tmp_path / "accounts"
    accounts.write_text("ann:pass:word\n\nbob:x\n")
    assert serve.check_access("0.0.0.0", accounts) == [("ann", "pass:word"), ("bob", "x")]
    for text in ("", "ann", "ann:", ":x", "ann: "):
        accounts.write_text(text)
        with pytest.raises(UsageError, match="must contain at least one line, each of the form name:password"):
            serve.check_access("0.0.0.0", accounts)
    with pytest.raises(UsageError, match="cannot be read"):
        serve.check_access("0.0.0.0", tmp_path / "missing")


def test_accounts_are_one_persons_each_and_the_file_is_for_few_eyes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    accounts = tmp_path / "accounts"
    for text, reason in (
        ("ann:one\nbob:x\n ann : two", "more than one line for 'ann'"),
        ("\0:x", "must contain at least one line"),
        ("a\x1bnn:x", "must contain at least one line"),
    ):
        accounts.write_text(text)
        with pytest.raises(UsageError, match=reason):
            serve.check_access("0.0.0.0", accounts)
    accounts.write_text("ann:one")
    for mode, others in ((0o644, True), (0o640, True), (0o600, False), (0o400, False)):
        accounts.chmod(mode)
        capsys.readouterr()
        assert serve.check_access("0.0.0.0", accounts) == [("ann", "one")]
        assert ("can be read by others on this machine; chmod 600 it" in capsys.readouterr().err) == others


def test_the_page_works_in_an_empty_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", dict(os.environ))
    before = Path.cwd()
    with serve.isolate() as empty:
        assert Path.cwd().samefile(empty) and list(empty.iterdir()) == []
        assert os.environ["GRADIO_ANALYTICS_ENABLED"] == "False"
        assert Path(os.environ["GRADIO_TEMP_DIR"]).is_dir()
    assert Path.cwd() == before and not empty.exists()
