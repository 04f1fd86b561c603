"""The command line: flags to requests, results to the right streams, refusals in one sentence, exit codes."""

import io
import json
import os
import platform
import re
import signal
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import genkit
from genkit.apps.cli import main
from genkit.apps.commands import doctor
from genkit.apps.commands.flags import request_from
from genkit.apps.commands.generate import free_name
from genkit.apps.terminal.progress import progress_bar, time_left
from genkit.attention.conformance.finding import Finding
from genkit.errors import GenkitError, UsageError
from genkit.generation.events import Progress
from genkit.request import Request
from genkit.video.video import Video, read_request


class FakeMake:
    """Stands for `genkit.make`: notes the requests, and gives a grey clip or raises."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.error: BaseException | None = None

    def __call__(self, request: Request, on_event: Any = None, pipe: Any = None) -> Video:
        self.requests.append(request)
        if self.error:
            raise self.error
        asked = request.model_dump(mode="json", exclude_unset=True) | {"model": request.model}
        asked["seed"] = 42 if request.seed is None else request.seed
        return Video(np.full((2, 16, 16, 3), 128, dtype=np.uint8), 8.0, asked)


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeMake:
    """A fake `genkit.make`, in an empty working folder."""
    fake = FakeMake()
    monkeypatch.setitem(genkit.__dict__, "make", fake)
    monkeypatch.chdir(tmp_path)
    return fake


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_every_flag_reaches_its_field(make: FakeMake) -> None:
    words = [
        "generate", "a red circle", "--negative-prompt", "blur", "--model", "owner/name", "--with", "freenoise",
        "--with", "radial:density=0.3,block=64", "--num-frames", "65", "--height", "96", "--width", "128",
        "--num-inference-steps", "12", "--guidance-scale", "4.5", "--seed", "7", "--fps", "12.5", "--dtype", "float16",
        "--device", "cpu", "--offload", "model", "--attention-backend", "flash", "--set", "max_sequence_length=32",
        "--image", "a.png", "--last-image", "b.png", "--video", "c.mp4", "--mask", "d.mp4", "--audio", "e.wav",
        "--reference", "f.png", "--reference", "g.png", "--control", "h.mp4", "--pose-video", "i.mp4", "--face-video",
        "j.mp4", "--background", "k.mp4", "--strength", "0.7", "--resize", "pad",
        "--base", "l", "--weights", "m.gguf", "--weights", "vae=n.safetensors", "--lora", "o.safetensors:0.8",
        "--quantize", "int8", "--scheduler", "lcm", "--flow-shift", "5", "--layerwise", "float8", "--compile", "blocks",
    ]  # fmt: skip
    assert main(words) == 0
    (request,) = make.requests
    assert request == Request(
        prompt="a red circle", negative_prompt="blur", model="owner/name",
        plugins=("freenoise", "radial:density=0.3,block=64"), num_frames=65, height=96, width=128,
        num_inference_steps=12, guidance_scale=4.5, seed=7, fps=12.5, dtype="float16", device="cpu", offload="model",
        attention_backend="flash", options={"max_sequence_length": 32},
        image="a.png", last_image="b.png", video="c.mp4", mask="d.mp4", audio="e.wav", reference=["f.png", "g.png"],
        control="h.mp4", pose_video="i.mp4", face_video="j.mp4", background="k.mp4", strength=0.7, resize="pad",
        base="l", weights=("m.gguf", "vae=n.safetensors"), lora=("o.safetensors:0.8",), quantize="int8",
        scheduler="lcm", flow_shift=5, layerwise="float8", compile="blocks",
    )  # fmt: skip
    assert request.model_fields_set == set(Request.model_fields), "this test has to name every field"


def test_what_was_not_given_is_not_set(make: FakeMake) -> None:
    assert main(["generate", "--prompt", "a", "--steps", "3", "--num_frames", "5"]) == 0
    assert make.requests[0].model_fields_set == {"prompt", "num_inference_steps", "num_frames"}


@pytest.mark.parametrize("words", [["--seed", "-1"], ["--seed=-1"], ["--set", "seed=-1"], ["--set", "seed=null"]])
def test_a_seed_of_minus_one_asks_for_a_new_one(words: list[str], make: FakeMake) -> None:
    assert main(["generate", "a", *words]) == 0
    assert make.requests[0].seed is None


@pytest.mark.parametrize(
    ("setting", "field", "value"),
    [
        ("seed=8", "seed", 8),
        ("num-frames=33", "num_frames", 33),
        ("steps=4", "num_inference_steps", 4),
        ("prompt=12", "prompt", "12"),
        ("prompt=a = b", "prompt", "a = b"),
        ("prompt=[0s-2s: a]", "prompt", "[0s-2s: a]"),
        ('prompt=[{"prompt": "a", "start": 0}]', "prompt", [{"prompt": "a", "start": 0}]),
        ("plugins=radial:density=0.3,block=64", "plugins", ("radial:density=0.3,block=64",)),
        ('with=["freenoise", "radial"]', "plugins", ("freenoise", "radial")),
        ("plugins=null", "plugins", ()),
        ("num_frames=null", "num_frames", None),
        ("output_type=np", "options", {"output_type": "np"}),
        ("flag=true", "options", {"flag": True}),
    ],
)
def test_settings(setting: str, field: str, value: Any) -> None:
    before = {"prompt": "x", "seed": 1, "num_frames": 5, "plugins": ["freelong"]}
    expected = Request.model_validate(before | {field: value})
    assert request_from(before, [setting]) == expected


def test_settings_are_added_to_options() -> None:
    assert request_from({"prompt": "x", "options": {"a": 1, "b": 2}}, ["b=3"]).options == {"a": 1, "b": 3}


REFUSED = {
    "generate a --num-frame 5": "Unknown option: --num-frame. Did you mean --num-frames?",
    "generate a --num_frame 5": "Did you mean --num-frames?",
    "generat a": 'Did you mean "generate"?',
    "generate": "--prompt requires an argument",
    "generate a --num-frames x": 'unable to convert "x" into int',
    "generate a --offload modle": 'Did you mean "model"?',
    "generate a b c": "'b' 'c' cannot be placed; put a text of several words in quotes",
    "generate a --seed 1 --seed 2": "--seed specified multiple times",
    "generate a --set seed": "--set 'seed' is not a setting; write KEY=VALUE",
    "generate a --set num_frames=x": "num_frames='x' cannot be used: input should be a valid integer",
    "generate a --output clip.avi": "must end in .mp4",
    "generate a --output /dev/null/clip.mp4": "cannot write '/dev/null/clip.mp4'",
    "rerun absent.mp4": "there is no video file 'absent.mp4'",
    "plugins --jsn": "Did you mean --json?",
}


@pytest.mark.parametrize("line", REFUSED)
def test_a_wrong_command_is_refused_in_one_sentence(
    line: str, make: FakeMake, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(line.split()) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("genkit: ") and said.err.count("\n") == 1
    assert REFUSED[line] in said.err
    assert make.requests == [] and files(tmp_path) == []


@pytest.mark.parametrize(
    ("error", "code", "sentence"),
    [
        (GenkitError("the latents are not finite at step 3"), 1, "genkit: the latents are not finite at step 3\n"),
        (UsageError("there is no plug-in called 'radail'"), 2, "genkit: there is no plug-in called 'radail'\n"),
        (KeyboardInterrupt(), 130, "genkit: stopped; nothing was written\n"),
    ],
)
def test_exit_codes(
    error: BaseException, code: int, sentence: str, make: FakeMake, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    make.error = error
    assert main(["generate", "a", "--output", "clip.mp4"]) == code
    assert capsys.readouterr() == ("", sentence)
    assert files(tmp_path) == []


def test_interrupt_from_the_keyboard(tmp_path: Path) -> None:
    """A real signal, in the middle of a step."""
    code = """
import signal, sys, time, genkit
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
def make(request, on_event=None):
    print("step", flush=True)
    time.sleep(60)
genkit.make = make
from genkit.apps.cli import main
sys.exit(main(["generate", "a", "--output", "clip.mp4"]))
"""
    child = subprocess.Popen(
        [sys.executable, "-c", code], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert child.stdout is not None and child.stdout.readline() == "step\n"
    child.send_signal(signal.SIGINT)
    _, said = child.communicate(timeout=30)
    assert (child.returncode, said) == (130, "genkit: stopped; nothing was written\n")
    assert files(tmp_path) == []


def test_path_and_receipt_go_to_standard_output_and_nothing_else_is_said(
    make: FakeMake, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["generate", "a", "--output", "new/clip.mp4"]) == 0
    assert capsys.readouterr() == ("new/clip.mp4\n", "")
    assert files(tmp_path) == ["new/clip.mp4", "new/clip.mp4.json"]


def test_json_is_one_object(make: FakeMake, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["generate", "a", "--json", "--output", "clip.mp4"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out) == {"output": "clip.mp4", "seed": 42, "receipt": None}
    assert said.out.count("\n") == 1 and said.err == ""


def test_sheet_and_no_metadata(make: FakeMake, tmp_path: Path) -> None:
    assert main(["generate", "a", "--output", "clip.mp4", "--sheet", "--no-metadata"]) == 0
    assert files(tmp_path) == ["clip.mp4", "clip.mp4.png"]
    with pytest.raises(UsageError, match="contains no genkit recipe"):
        read_request("clip.mp4")


def test_the_default_name_tells_the_run_and_never_the_prompt(
    make: FakeMake, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for _ in range(2):
        assert main(["generate", "secret words"]) == 0
    first, second = capsys.readouterr().out.split()
    assert re.fullmatch(r"outputs/\d{4}-\d\d-\d\d-tiny-42-[0-9a-f]{8}\.mp4", first)
    assert second == first.replace(".mp4", "-2.mp4"), "nothing is replaced unless its name is given"
    assert not any("secret" in name for name in files(tmp_path))


def test_the_default_name_depends_on_the_request_and_is_safe(tmp_path: Path) -> None:
    one = free_name(tmp_path, {"model": "../Wan-AI/Wan 2.1/", "seed": 7, "prompt": "a"})
    other = free_name(tmp_path, {"model": "../Wan-AI/Wan 2.1/", "seed": 7, "prompt": "b"})
    assert one != other and one.parent == tmp_path
    assert re.fullmatch(r"[\d-]{10}-Wan-2\.1-7-[0-9a-f]{8}\.mp4", one.name)


def test_an_output_folder_gets_a_default_name(make: FakeMake, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    assert main(["generate", "a", "-o", "mine"]) == 0
    assert len(files(tmp_path / "mine")) == 2


def test_rerun_asks_for_the_same_again(make: FakeMake) -> None:
    assert main(["generate", "a", "--with", "radial:density=0.3", "--num-frames", "5", "-o", "one.mp4"]) == 0
    assert main(["rerun", "one.mp4", "-o", "two.mp4"]) == 0
    assert make.requests[1] == make.requests[0].model_copy(update={"seed": 42})
    assert read_request("two.mp4") == read_request("one.mp4")


def test_rerun_with_changes(make: FakeMake) -> None:
    assert main(["generate", "a", "--with", "radial", "-o", "one.mp4"]) == 0
    words = ["--set", "seed=8", "--set", "plugins=null", "--set", "max_sequence_length=9", "-o", "two.mp4"]
    assert main(["rerun", "one.mp4", *words]) == 0
    changed = {"seed": 8, "plugins": (), "options": {"max_sequence_length": 9}}
    assert make.requests[1] == make.requests[0].model_copy(update=changed)


def test_rerun_of_a_request_that_this_version_does_not_know(make: FakeMake, capsys: pytest.CaptureFixture[str]) -> None:
    Video(np.zeros((2, 16, 16, 3), dtype=np.uint8), 8.0, {"prompt": "a", "num_frame": 5}).save("odd.mp4")
    assert main(["rerun", "odd.mp4"]) == 2
    assert "a request has no field 'num_frame'; did you mean 'num_frames'?" in capsys.readouterr().err


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_shows_the_bar_with_the_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Terminal()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", screen)
    with progress_bar() as draw:
        assert draw is not None
        draw(Progress(step=2, total=20, seconds=10.0, left=90.4, stage="denoise"))
    assert "making the video" in screen.getvalue()
    assert "2/20" in screen.getvalue() and "1:30 left" in screen.getvalue()


def test_a_pipe_shows_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with progress_bar() as draw:
        assert draw is None


@pytest.mark.parametrize(
    ("step", "left", "said"), [(0, 0.0, ""), (1, 59.7, "1:00 left"), (3, 4.2, "0:04 left"), (4, 0.0, "")]
)
def test_time_left(step: int, left: float, said: str) -> None:
    assert time_left(Progress(step=step, total=4, seconds=1.0, left=left)) == said


def test_plugins_names_papers_seams_and_every_parameter(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plugins", "--json"]) == 0
    cards = {card["name"]: card for card in json.loads(capsys.readouterr().out)}
    assert {"freelong", "freenoise", "radial", "timeline"} <= set(cards)
    density = next(entry for entry in cards["radial"]["parameters"] if entry["name"] == "density")
    assert density["type"] == "float or None" and density["default"] is None and density["required"] is False
    assert cards["radial"]["seams"] == ["attention"] and cards["radial"]["paper"]
    assert all(entry["description"] for card in cards.values() for entry in card["parameters"])
    assert main(["plugins"]) == 0
    text = capsys.readouterr().out
    for card in cards.values():
        assert card["paper"] in text and f"{card['name']} - {card['title']}" in text
        assert all(f"{entry['name']}: {entry['type']}" in text for entry in card["parameters"])


def test_models_names_every_family(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "--json"]) == 0
    cards = {card["family"]: card for card in json.loads(capsys.readouterr().out)}
    assert {"tiny", "wan", "hunyuanvideo", "cogvideox", "ltx", "mochi"} <= set(cards)
    assert all(isinstance(card["positions"], str) for card in cards.values())
    assert cards["tiny"]["model"] == "WanTransformer3DModel" and cards["tiny"]["native_frames"] == 17
    assert main(["models"]) == 0
    text = capsys.readouterr().out
    assert all(hub_id in text for card in cards.values() for hub_id in card["hub_ids"])
    assert all(sum(line.startswith(f"{family} ") for line in text.splitlines()) == 1 for family in cards)


def test_models_says_all_that_is_known_of_one(capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("hunyuanvideo", "hunyuanvideo-community/HunyuanVideo"):
        assert main(["models", name]) == 0
        text = capsys.readouterr().out
        assert "license" not in text and "licence: tencent" in text and "lengths: 4k + 1 frames" in text
        assert "it sees text alone" in text
        assert "weights: hunyuanvideo-community/HunyuanVideo: 12.82 billion parameters, 23.9 GiB in bfloat16" in text
    assert main(["models", "motif"]) == 0
    assert "Motif-Video-2B: not known" in capsys.readouterr().out
    assert main(["models", "wan", "--json"]) == 0
    assert {"wan", "wan2.2", "wan2.2-5b"} <= {card["family"] for card in json.loads(capsys.readouterr().out)}
    assert main(["models", "tiny"]) == 0
    assert "circle" in capsys.readouterr().out
    assert main(["models", "mochy"]) == 2
    assert "no model is called 'mochy'; did you mean 'mochi'" in capsys.readouterr().err.replace("\n", " ")


def test_doctor_has_a_line_for_everything(capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["doctor", "--json"])
    found = {check["name"]: check for check in json.loads(capsys.readouterr().out)}
    assert {"python", "machine", "torch", "gpu", "diffusers", "triton", "flex", "tiny model", "h264"} <= set(found)
    assert code == int(any(check["needed"] and not check["ok"] for check in found.values()))
    assert found["h264"]["ok"] and "libx264" in found["h264"]["found"]
    assert found["python"]["ok"] and found["python"]["found"] == platform.python_version()
    assert found["diffusers"]["ok"] and f"diffusers {version('diffusers')}" in found["diffusers"]["found"]


def test_doctor_compares_a_model_with_its_facts(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--model", "tiny"]) == 0
    *lines, summary = capsys.readouterr().out.splitlines()
    assert summary.startswith(f"WanPipeline (tiny): {len(lines)} of {len(lines)} facts are as they say (")
    assert "ok      transformer.volume          5 x 3 x 4 tokens, frame by frame and row by row" in lines
    assert any(line.startswith("ok      identity ") for line in lines)
    assert main(["doctor", "--model", "mochy"]) == 2


def test_doctor_ends_with_1_if_a_fact_is_wrong(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    findings = (Finding(fact="transformer.before", ok=False, found="16 are before it, and the facts say 0"),)
    wrong = genkit.Conformance(title="MyPipeline (mine)", findings=findings, seconds=1.0)
    monkeypatch.setattr(genkit, "check", lambda pipe: wrong, raising=False)
    monkeypatch.setattr(genkit, "load", lambda model: None, raising=False)
    assert main(["doctor", "--model", "mine"]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "wrong   transformer.before          16 are before it, and the facts say 0",
        "MyPipeline (mine): 0 of 1 facts are as they say (1.0 s)",
    ]
    assert main(["doctor", "--model", "mine", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)[0]["fact"] == "transformer.before"


@pytest.mark.parametrize(
    ("check", "line"),
    [
        (doctor.Check(name="torch", ok=True, found="2.13.0", needed=True), "ok      torch          2.13.0"),
        (
            doctor.Check(name="gradio", ok=False, found="no web page", fix="get it"),
            "without gradio         no web page; get it",
        ),
        (doctor.Check(name="h264", ok=False, found="no", needed=True), "missing h264           no"),
    ],
)
def test_doctor_lines(check: doctor.Check, line: str) -> None:
    assert doctor.text_of(check) == line


def test_doctor_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setitem(sys.modules, "av", None)
    monkeypatch.setattr(doctor.importlib.import_module("torch").cuda, "is_available", lambda: False)
    monkeypatch.setattr(doctor, "TINY_WEIGHTS", tmp_path)
    assert main(["doctor"]) == 1
    text = capsys.readouterr().out
    assert re.search(r"^without flex +FlexAttention needs a C\+\+ compiler on a CPU; install g\+\+$", text, re.M)
    assert re.search(r"^missing tiny model +missing from this installation; pip install --force-reinstall", text, re.M)
    assert re.search(r"^missing h264 +ModuleNotFoundError: .*; reinstall it$", text, re.M)


def test_demo_runs_the_demo(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    monkeypatch.setitem(sys.modules, "genkit.apps.commands.demo", SimpleNamespace(run=lambda: calls.append("run")))
    assert main(["demo"]) == 0
    assert calls == ["run"]


def test_help_names_every_field() -> None:
    """In a process of its own: the width of the lines is read once a process."""
    code = "from genkit.apps.cli import main; raise SystemExit(main(['generate', '--help']))"
    wide = os.environ | {"COLUMNS": "200"}
    text = subprocess.run([sys.executable, "-c", code], env=wide, check=True, capture_output=True, text=True).stdout
    flags = {"plugins": "--with", "options": "--set", "num_inference_steps": "--steps"}
    for name, field in Request.model_fields.items():
        assert flags.get(name, "--" + name.replace("_", "-")) in text
        assert name == "options" or str(field.description) in text
    assert "[default: tiny]" in text


def test_help_and_refusals_load_nothing_heavy(tmp_path: Path) -> None:
    code = """
import sys
from genkit.apps.cli import main
codes = [main(line.split()) for line in ("--help", "generate --help", "--version", "generate a --sed 1")]
heavy = [name for name in ("torch", "diffusers", "transformers", "av", "gradio") if name in sys.modules]
print(codes, heavy, file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.stderr.splitlines()[-1] == "[0, 0, 0, 2] []"


def test_a_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    code = """
import sys
from genkit.apps import cli
cli.app.command(lambda: print("much"), name="say")
sys.exit(cli.main(["say"]))
"""
    child = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert child.stdout is not None and child.stderr is not None
    child.stdout.close()
    assert (child.wait(timeout=120), child.stderr.read()) == (0, b"")


@pytest.mark.parametrize(("before", "after"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_threads_wait_asleep_unless_the_user_says_otherwise(
    before: str | None, after: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    if before:
        monkeypatch.setenv("OMP_WAIT_POLICY", before)
    assert main(["models", "--json"]) == 0
    assert os.environ["OMP_WAIT_POLICY"] == after


FAULTS = [
    (
        RuntimeError("shapes do not fit\nat line 2"),
        "RuntimeError: shapes do not fit; this is a bug in genkit: use --debug",
    ),
    (AssertionError(), "AssertionError: no reason was given; this is a bug in genkit"),
    (RecursionError("too deep"), "RecursionError: too deep; this is a bug in genkit"),
    (OSError(28, "No space left on device"), r"OSError: \[Errno 28\] No space left on device; the system refused it"),
    (ModuleNotFoundError("No module named 'av'"), "No module named 'av'; a package is missing or incompatible"),
    (MemoryError(), "out of memory \\(MemoryError: no reason was given\\); make fewer frames"),
    (torch.OutOfMemoryError("CUDA out of memory. Tried"), "out of memory .*CUDA out of memory"),
    (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), "out of memory "),
    (RuntimeError("MPS backend out of memory (MPS allocated: 1 GB)"), "out of memory "),
    (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"), "UnicodeDecodeError: "),
]


@pytest.mark.parametrize(("error", "sentence"), FAULTS)
def test_what_nobody_foresaw_is_one_line_too(
    error: Exception, sentence: str, make: FakeMake, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    make.error = error
    assert main(["generate", "a", "--output", "clip.mp4"]) == 1
    said = capsys.readouterr()
    assert said.out == "" and said.err.startswith("genkit: ") and said.err.count("\n") == 1
    assert re.search(sentence, said.err) and "Traceback" not in said.err
    assert files(tmp_path) == []


@pytest.mark.parametrize("command", ["plugins", "models", "doctor", "demo", "ui", "evaluate x", "bench attention"])
def test_every_command_has_the_last_line_of_defence(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*words: Any, **options: Any) -> int:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr("genkit.apps.cli.app", broken)
    assert main(command.split()) == 1
    assert capsys.readouterr().err.startswith("genkit: ZeroDivisionError: division by zero; this is a bug in genkit")


@pytest.mark.parametrize("error", [RuntimeError("odd"), GenkitError("known"), UsageError("wrong")])
@pytest.mark.parametrize(("words", "variable"), [(["--debug"], None), ([], "1")])
def test_debug_shows_the_traceback_and_changes_nothing_else(
    error: Exception, words: list[str], variable: str | None, make: FakeMake, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    make.error = error
    code = main(["generate", "a"])
    plain = capsys.readouterr().err
    if variable:
        monkeypatch.setenv("GENKIT_DEBUG", variable)
    assert main(["generate", *words, "a"]) == code
    loud = capsys.readouterr().err
    assert loud.startswith("Traceback") and loud.endswith(plain) and "Traceback" not in plain


def test_debug_behind_two_dashes_is_a_text(make: FakeMake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENKIT_DEBUG", "0")
    assert main(["generate", "--steps", "1", "--", "--debug"]) == 0
    assert make.requests[0].prompt == "--debug"


def test_standard_output_of_another_encoding_is_no_error(tmp_path: Path) -> None:
    code = """
import sys
from genkit.apps import cli
cli.app.command(lambda: print("m\\u00fcde \\U0001f534"), name="say")
sys.exit(cli.main(["say"]))
"""
    ascii_only = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=ascii_only, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "m\\xfcde \\U0001f534\n", "")


def test_several_videos_have_names_of_their_own_and_replace_nothing(
    make: FakeMake, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    opened: list[Any] = []
    monkeypatch.setitem(genkit.__dict__, "load", lambda **opening: opened.append(opening) or "pipe")
    Path("clip-2.mp4").write_bytes(b"mine")
    assert main(["generate", "a red circle", "--num-videos", "3", "--seed", "7", "-o", "clip.mp4", "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(row["output"], row["seed"]) for row in rows] == [
        ("clip-1.mp4", 7),
        ("clip-2-2.mp4", 8),
        ("clip-3.mp4", 9),
    ]
    assert Path("clip-2.mp4").read_bytes() == b"mine" and not Path("clip.mp4").exists()
    assert len(opened) == 1 and [read_request(Path(row["output"]))["seed"] for row in rows] == [7, 8, 9]


def test_a_number_of_videos_is_checked_before_anything_is_made(make: FakeMake) -> None:
    assert main(["generate", "a red circle", "--num-videos", "0"]) == 2
    assert make.requests == []
