"""`genkit rerun` of a file that somebody else made: it decides the video, and opens no door of this machine."""

import json
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_cli import FakeMake, files
from test_receipt import receipt

import genkit
from genkit.apps.cli import main
from genkit.apps.page import form
from genkit.errors import UsageError
from genkit.pipelines.known import checkpoints
from genkit.request import Request
from genkit.video.stranger import LIMITS, from_stranger
from genkit.video.video import Video


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeMake:
    fake = FakeMake()
    monkeypatch.setitem(genkit.__dict__, "make", fake)
    monkeypatch.chdir(tmp_path)
    return fake


def film(request: dict[str, Any], name: str = "film.mp4") -> None:
    Video(np.zeros((2, 16, 16, 3), np.uint8), 8.0, {"prompt": "a"} | request).save(name)


MODELS = [
    "/tmp/evil",
    "./evil",
    "../evil",
    "~/evil",
    "evil/evil",
    "https://evil/m",
    "file:///etc",
    "TINY",
    "",
    None,
    5,
    ["tiny"],
]


@pytest.mark.parametrize("model", MODELS)
def test_a_file_opens_no_model_of_its_choice(model: Any, make: FakeMake, capsys: Any, tmp_path: Path) -> None:
    film({"model": model})
    before = files(tmp_path)
    assert main(["rerun", "film.mp4"]) == 2
    said = capsys.readouterr().err
    assert f"was made with the model {model!r}" in said and "--model" in said and said.count("\n") == 1
    assert make.requests == [] and files(tmp_path) == before


@pytest.mark.parametrize("words", [["--model", "owner/name"], ["--set", "model=owner/name"], ["--model", "/a/folder"]])
def test_the_user_may_say_the_model(words: list[str], make: FakeMake) -> None:
    film({"model": "/tmp/evil"})
    assert main(["rerun", "film.mp4", *words]) == 0
    assert make.requests[0].model == words[1].removeprefix("model=")


@pytest.mark.parametrize("model", [name for card in checkpoints() for name in card.hub_ids])
def test_known_models_need_no_word(model: str, make: FakeMake) -> None:
    film({"model": model})
    assert main(["rerun", "film.mp4"]) == 0
    assert make.requests[0].model == model


def test_a_folder_that_is_called_like_a_known_model_is_none(make: FakeMake, capsys: Any, tmp_path: Path) -> None:
    """It may have come in one archive with the video."""
    known = next(name for card in checkpoints() for name in card.hub_ids if "/" in name)
    (tmp_path / known).mkdir(parents=True)
    film({"model": known})
    assert main(["rerun", "film.mp4"]) == 2 and make.requests == []
    assert "none from a local folder" in capsys.readouterr().err


LEFT_OUT = {
    "device": ("cuda:7", "--set device=cuda:7"),
    "offload": ("model", "--set offload=model"),
    "base": ("/tmp/evil", "--set base=/tmp/evil"),
    "weights": (["/tmp/evil.gguf"], "--set 'weights=[\"/tmp/evil.gguf\"]'"),
    "lora": (["/tmp/evil.safetensors:0.5"], "--set 'lora=[\"/tmp/evil.safetensors:0.5\"]'"),
    "compile": ("blocks", "--set compile=blocks"),
    "attention_backend": ("_flash_3_hub", "--set attention_backend=_flash_3_hub"),
    "options": ({"poses": "/etc/passwd", "n": 10**9}, "--set poses=/etc/passwd"),
    "plugins": (
        ["radial:budget=/etc/passwd,block=64", "freenoise"],
        "--set plugins=radial:budget=/etc/passwd,block=64",
    ),
}


@pytest.mark.parametrize("field", LEFT_OUT)
def test_what_belongs_to_the_machine_is_left_out_and_told(field: str, make: FakeMake, capsys: Any) -> None:
    value, setting = LEFT_OUT[field]
    film({field: value, "seed": 7, "num_frames": 5})
    assert main(["rerun", "film.mp4"]) == 0
    clean = {"plugins": ("radial:block=64", "freenoise")} if field == "plugins" else {}
    assert make.requests[0] == Request(prompt="a", seed=7, num_frames=5, **clean)
    said = capsys.readouterr().err
    assert "is not taken from a file; if you want it, set it yourself" in said and setting in said
    words = shlex.split(said[said.index("--set") :].split("\n")[0])
    assert main(["rerun", "film.mp4", *words]) == 0
    again = make.requests[1].model_dump()
    assert again[field] == {"poses": "/etc/passwd"} if field == "options" else again[field], "the advice works"


def test_what_was_left_out_is_in_the_receipt(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Any) -> None:
    monkeypatch.chdir(tmp_path)
    ran = Video(np.zeros((2, 16, 16, 3), np.uint8), 8.0, {"prompt": "a"}, receipt())
    monkeypatch.setitem(genkit.__dict__, "make", lambda request, on_event=None: ran)
    film({"device": "cuda:7", "options": {"x": 1}})
    assert main(["rerun", "film.mp4", "-o", "again.mp4"]) == 0
    notes = genkit.read("again.mp4").receipt.notes[-2:]  # type: ignore[union-attr]
    assert [note.split(" ")[0] for note in notes] == ["device", "x"]


def test_commands_of_a_shell_stay_one_word_of_the_advice() -> None:
    evil = "x; rm -rf ~ $(id) `id` 'x"
    _, notes = from_stranger({"device": evil, "options": {evil: evil}}, ())
    for note, name in zip(notes, ("device", evil), strict=True):
        assert shlex.split(note[note.index("--set") :]) == ["--set", f"{name}={evil}"]
    with pytest.raises(UsageError, match="--model") as refused:
        from_stranger({"model": evil}, ())
    assert shlex.split(str(refused.value).rpartition("yourself: ")[2]) == ["--model", evil]


@pytest.mark.parametrize("field", LIMITS)
def test_enormous_amounts_are_refused_unless_the_user_says_them(field: str, make: FakeMake, capsys: Any) -> None:
    film({field: 10**12})
    assert main(["rerun", "film.mp4"]) == 2 and make.requests == []
    assert f"--set {field}=1000000000000" in capsys.readouterr().err
    assert main(["rerun", "film.mp4", "--set", f"{field}=5"]) == 0


@pytest.mark.parametrize("written", ["99999999", " 99999999 ", "99_999_999", "1e9", 99999999.0])
def test_an_amount_may_not_hide_in_a_text(written: Any, make: FakeMake, capsys: Any) -> None:
    """A request takes a text for the number that it says."""
    film({"num_frames": written})
    assert main(["rerun", "film.mp4"]) == 2 and make.requests == []
    assert "more than a file may request" in capsys.readouterr().err


@pytest.mark.parametrize("field", ["prompt", "negative_prompt", "plugins", "fps", "dtype"])
def test_no_field_is_longer_than_a_file_may_have(field: str, make: FakeMake, capsys: Any) -> None:
    film({field: ["freenoise"] * 100_000 if field == "plugins" else "x " * 100_000})
    assert main(["rerun", "film.mp4"]) == 2 and make.requests == []
    said = capsys.readouterr().err
    assert f"{field} in this file has " in said and "characters; a file may have at most" in said and len(said) < 200


def test_amounts_that_are_enormous_together(make: FakeMake, capsys: Any) -> None:
    film({"num_frames": 10_000, "height": 8192, "width": 8192})
    assert main(["rerun", "film.mp4"]) == 2 and make.requests == []
    assert "more than a file may request" in capsys.readouterr().err
    film({"prompt": [{"prompt": "a" * 50, "start": 0}] * 10_000})
    assert main(["rerun", "film.mp4"]) == 2 and make.requests == []
    assert "characters; a file may have at most" in capsys.readouterr().err


HOSTILE: list[dict[str, Any]] = [
    {"plugins": "radial"}, {"plugins": [5]}, {"plugins": ["no-such"]}, {"plugins": ["radial:"]}, {"plugins": [":"]},
    {"plugins": ["radial:budget"]}, {"plugins": ["radial:density=__import__('os')"]}, {"options": [1]}, {"seed": "x"},
    {"num_frames": True}, {"num_frames": "inf"}, {"prompt": 5}, {"prompt": [5]}, {"prompt": None}, {"fps": -1},
    {"dtype": "evil"}, {"surprise": 1}, {"height": -(10**30)}, {"width": 1e400}, {"num_frames": [1]},
    {"device": {"a": 1}},
]  # fmt: skip


@pytest.mark.parametrize("request_", HOSTILE, ids=str)
def test_a_hostile_recipe_ends_in_a_sentence(request_: dict[str, Any], make: FakeMake, capsys: Any) -> None:
    film({})
    about = json.loads(Path("film.mp4.json").read_text())
    Video(np.zeros((2, 16, 16, 3), np.uint8), 8.0, {"prompt": "a"}).save("film.mp4", metadata=False)
    about["request"] |= request_
    Path("film.mp4.json").write_text(json.dumps(about))
    code = main(["rerun", "film.mp4"])
    said = capsys.readouterr().err
    assert code in (0, 2) and "Traceback" not in said and "bug in genkit" not in said
    for request in make.requests:
        assert (request.device, request.offload, request.options) == (None, None, {})


@pytest.mark.parametrize("output", ["film.mp4", "./film.mp4", "link.mp4", "hard.mp4"])
def test_a_video_is_not_written_over_its_source(output: str, make: FakeMake, capsys: Any, tmp_path: Path) -> None:
    film({"seed": 7})
    Path("link.mp4").symlink_to("film.mp4")
    Path("hard.mp4").hardlink_to("film.mp4")
    before = Path("film.mp4").read_bytes()
    assert main(["rerun", "film.mp4", "--set", "seed=8", "-o", output]) == 2
    assert "is the video being read" in capsys.readouterr().err
    assert make.requests == [] and Path("film.mp4").read_bytes() == before


def test_the_page_takes_no_more_from_a_file() -> None:
    request = {"prompt": "a", "model": "tiny", **{name: value for name, (value, _) in LEFT_OUT.items()}}
    values, said = form.settings(request)
    assert not {"device", "offload", "attention_backend", "options"} & values.keys()
    assert "/etc/passwd" not in str(values)
    assert all(name in said[0] for name in ("device", "offload", "attention_backend", "options", "radial.budget"))
    for model in MODELS:
        with pytest.raises(UsageError):
            form.settings({"prompt": "a", "model": model})
