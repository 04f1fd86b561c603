"""Results of every command: somebody else's file is never written over, ours is, and what is finished is kept."""

import errno
import os
import shlex
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from test_bench_gpu import curve_row
from test_cli import files
from test_probe import perfect
from test_receipt import receipt

import genkit
import genkit.video.targets
from genkit.apps.cli import main
from genkit.apps.commands import demo
from genkit.benchmarks.speed import curve
from genkit.video.ours import is_film, is_picture
from genkit.video.video import Video, read_request

THEIRS = {
    "text": b"my notes",
    "json": b'{"mine": 1}',
    "svg": b'<svg xmlns="http://www.w3.org/2000/svg"><title>genkit-video</title></svg>',
    "png": b"\x89PNG\r\n\x1a\n mine",
    "bytes": b"\xff\x00\xfe",
}
ROW = curve_row(0.2, 3.4) | {
    "asked": 0.2, "dense_ms": 1.0, "planner_first_ms": 0.1, "attention_ms": 1.0, "warm": 3.0, "device_name": "x",
}  # fmt: skip


@pytest.fixture
def works(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """What was begun; every command is done at once."""
    begun: list[str] = []
    frames = np.linspace(0, 1, 17 * 64 * 64 * 3).reshape(17, 64, 64, 3)

    def made(request: Any, on_event: Any = None, pipe: Any = None) -> Video:
        begun.append("made")
        return Video(frames, fps=8, request=request.model_dump(mode="json"), receipt=receipt())

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("genkit.making.make", made)
    monkeypatch.setitem(genkit.__dict__, "make", made)
    monkeypatch.setattr("genkit.loading.load", lambda *words, **more: begun.append("opened"))
    monkeypatch.setitem(genkit.__dict__, "load", lambda *words, **more: begun.append("opened"))
    monkeypatch.setitem(genkit.__dict__, "probe", lambda *words, **more: begun.append("probed") or perfect())
    monkeypatch.setattr(curve, "curve", lambda *words: begun.append("timed") or [ROW])
    return begun


COMMANDS = {
    "generate a -o clip.mp4": ["clip.mp4"],
    "generate a -o clip.mp4 --no-metadata": ["clip.mp4"],
    "probe a --with radial --out budget.json --picture budget.svg": ["budget.json", "budget.svg"],
    "probe a --with radial --out budget.json --picture budget.PNG": ["budget.json", "budget.PNG"],
    "bench curve --picture curve.svg": ["curve.svg"],
    "demo": ["outputs/demo/1-plain.mp4", "outputs/demo/5-two-prompts.mp4", "outputs/demo/sheet.png"],
}
PLACES = [(line, name) for line, names in COMMANDS.items() for name in names]


@pytest.mark.parametrize("theirs", THEIRS)
@pytest.mark.parametrize(("line", "name"), PLACES)
def test_a_file_of_somebody_else_is_refused_before_any_work(
    line: str, name: str, theirs: str, works: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(THEIRS[theirs])
    assert main(shlex.split(line)) == 2
    said = capsys.readouterr().err
    assert f"{name}' already exists and is not a " in said and "choose another name" in said and said.count("\n") == 1
    assert works == [] and files(tmp_path) == [name] and path.read_bytes() == THEIRS[theirs]


@pytest.mark.parametrize("line", COMMANDS)
def test_the_same_command_again_replaces_what_it_made(line: str, works: list[str], tmp_path: Path) -> None:
    assert main(shlex.split(line)) == 0
    first = files(tmp_path)
    assert set(COMMANDS[line]) <= set(first)
    (tmp_path / COMMANDS[line][-1]).touch()
    assert main(shlex.split(line)) == 0 and files(tmp_path) == first


@pytest.mark.parametrize(("line", "name"), PLACES)
def test_a_file_that_comes_meanwhile_stays(
    line: str, name: str, works: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    path = tmp_path / name
    placed = genkit.video.targets._place

    def later(part: Path, target: Any) -> Path:
        if target.path.name == path.name and not path.exists():
            path.write_bytes(b"mine")
        return placed(part, target)

    monkeypatch.setattr(genkit.video.targets, "_place", later)
    assert main(shlex.split(line)) == 0
    assert path.read_bytes() == b"mine" and path.with_name(f"{path.stem}-2{path.suffix}").stat().st_size > 4
    assert f"another file has appeared at '{name}'" in capsys.readouterr().err


def test_a_pipe_is_no_file_to_replace(works: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    for line, name in PLACES[:3]:
        if not os.path.exists(name):
            os.mkfifo(name)
        assert main(shlex.split(line)) == 2 and f"{name}' already exists" in capsys.readouterr().err
    assert works == []


def refuses(monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    """A disk that takes no file of this suffix in the working folder."""
    write = genkit.video.targets._place

    def full(part: Path, target: Any) -> Path:
        if target.path.suffix == suffix and target.path.parent == Path("."):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(part, target)

    monkeypatch.setattr(genkit.video.targets, "_place", full)


@pytest.mark.parametrize(
    ("line", "suffix", "what"),
    [
        ("probe a --with radial --out budget.json --picture budget.svg", ".json", "budget"),
        ("probe a --with radial --out budget.json --picture budget.svg", ".svg", "picture"),
        ("bench curve --picture curve.svg", ".svg", "picture"),
    ],
)
def test_a_disk_that_is_full_costs_a_name(
    line: str, suffix: str, what: str, works: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("GENKIT_RESCUE", str(tmp_path / "shelter"))
    refuses(monkeypatch, suffix)
    assert main(shlex.split(line)) == 1
    said = capsys.readouterr()
    (kept,) = (tmp_path / "shelter").iterdir()
    assert f"No space left on device; the {what} is saved as {str(kept)!r}" in said.err
    assert kept.suffix == suffix and kept.stat().st_size and len(said.out.splitlines()) > 2, "the table is shown"


def test_the_demo_keeps_its_sheet(
    works: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GENKIT_RESCUE", str(tmp_path / "shelter"))
    refuses(monkeypatch, ".png")
    monkeypatch.setattr(demo, "SCENES", demo.SCENES[:1])
    monkeypatch.setattr(demo, "FOLDER", Path("."))
    with pytest.raises(genkit.GenkitError, match="the contact sheet is saved as"):
        demo.run(Path("."))
    assert is_picture(tmp_path / "shelter" / "sheet.png")


# What tells that a file is ours


def test_without_metadata_a_mark_is_all_that_is_stored(works: list[str], tmp_path: Path) -> None:
    assert main(shlex.split("generate 'secret words' --seed 987654 -o clip.mp4 --no-metadata")) == 0
    content = Path("clip.mp4").read_bytes()
    assert is_film(Path("clip.mp4")) and b"secret" not in content and b"987654" not in content
    with av.open("clip.mp4") as container:
        own = {key: value for key, value in container.metadata.items() if "genkit" in value}
    assert own == {"generator": "genkit-video"}, "not even the version"
    with pytest.raises(genkit.UsageError, match="contains no genkit recipe"):
        read_request("clip.mp4")


def test_a_recipe_beside_makes_no_video_ours(works: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """The user's own cut of a video may lie under its name, with its size and length."""
    assert main(["generate", "a", "-o", "clip.mp4"]) == 0
    with av.open("clip.mp4") as source, av.open("own.mp4", "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(source.streams.video[0]):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    Path("own.mp4").replace("clip.mp4")
    own = Path("clip.mp4").read_bytes()
    assert main(["generate", "a", "-o", "clip.mp4"]) == 2 and Path("clip.mp4").read_bytes() == own
    assert "is not a video that genkit made" in capsys.readouterr().err


def test_a_video_of_a_later_release_is_ours_too(works: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as later:
        later.setattr("genkit.video.recipe.SCHEMA_VERSION", 99)
        assert main(["generate", "a", "-o", "clip.mp4"]) == 0
    with pytest.raises(genkit.UsageError, match="schema version 99"):
        read_request("clip.mp4")
    assert main(["generate", "a", "-o", "clip.mp4"]) == 0 and read_request("clip.mp4")["prompt"] == "a"
