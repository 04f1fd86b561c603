"""Finished work is never thrown away, and nobody's file is written over."""

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_cli import FakeMake, files
from test_receipt import receipt

import genkit
import genkit.files.encode
import genkit.video.video
from genkit.apps.cli import main
from genkit.benchmarks.evaluate.clips import decode
from genkit.errors import GenkitError, UsageError
from genkit.files.whole import claim
from genkit.video.ours import is_picture, is_recipe
from genkit.video.rescue import rescue
from genkit.video.targets import Target
from genkit.video.video import Video, read, read_request

FRAMES = np.random.default_rng(0).integers(0, 255, (6, 32, 32, 3), np.uint8)


@pytest.fixture
def shelter(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which finished work is kept."""
    folder = tmp_path_factory.mktemp("shelter") / "new"
    monkeypatch.setenv("GENKIT_RESCUE", str(folder))
    return folder


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeMake:
    fake = FakeMake()
    monkeypatch.setitem(genkit.__dict__, "make", fake)
    monkeypatch.chdir(tmp_path)
    return fake


def while_made(make: FakeMake, happens: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let something happen while the video is made."""

    def made(request: Any, on_event: Any = None) -> Video:
        happens()
        return make(request)

    monkeypatch.setitem(genkit.__dict__, "make", made)


# A finished video is never thrown away


def fails(number: int) -> Callable[..., None]:
    def encode(path: Path, *words: Any, **more: Any) -> None:
        if "out" in path.parts:
            raise OSError(number, os.strerror(number), str(path))
        genkit.files.encode.encode(path, *words, **more)

    return encode


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO, errno.ESTALE])
def test_a_disk_that_refuses(
    number: int, make: FakeMake, shelter: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any, tmp_path: Path
) -> None:
    monkeypatch.setattr(genkit.video.video, "encode", fails(number))
    assert main(["generate", "a", "-o", "out/clip.mp4"]) == 1
    said = capsys.readouterr().err
    place = shelter / "clip.mp4"
    assert said == (
        f"genkit: 'out/clip.mp4' could not be written: {os.strerror(number)}; the finished video is saved as "
        f"{str(place)!r}\n"
    )
    assert read_request(place)["prompt"] == "a" and files(tmp_path) == []
    assert shelter.stat().st_mode & 0o777 == 0o700


HAPPENS: dict[str, Callable[[], object]] = {
    "became a file": lambda: (shutil.rmtree("out"), Path("out").write_text("mine")),
    "became a link to nowhere": lambda: (
        shutil.rmtree("out"),
        Path("out").symlink_to("nowhere/deep"),
    ),
    "name became a folder": lambda: Path("out/clip.mp4").mkdir(),
}


@pytest.mark.parametrize("what", HAPPENS)
def test_a_folder_that_changes_meanwhile(
    what: str, make: FakeMake, shelter: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    Path("out").mkdir()
    while_made(make, HAPPENS[what], monkeypatch)
    assert main(["generate", "a", "-o", "out/clip.mp4"]) == 1
    assert f"the finished video is saved as {str(shelter / 'clip.mp4')!r}" in capsys.readouterr().err
    assert read_request(shelter / "clip.mp4")["prompt"] == "a"


def test_a_folder_that_is_removed_meanwhile_is_made_again(make: FakeMake, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("out").mkdir()
    while_made(make, lambda: shutil.rmtree("out"), monkeypatch)
    assert main(["generate", "a", "-o", "out"]) == 0
    assert len(list(Path("out").glob("*.mp4"))) == 1


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can mount")
@pytest.mark.parametrize("size", ["4k", "16k", "64k"])
def test_a_disk_that_is_full(
    size: str, make: FakeMake, shelter: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def made(request: Any, on_event: Any = None) -> Video:
        return Video(FRAMES.repeat(4, 0).repeat(4, 1).repeat(4, 2), 8.0, {"prompt": "a"})

    monkeypatch.setitem(genkit.__dict__, "make", made)
    Path("out").mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", "out"], capture_output=True).returncode:
        pytest.skip("this machine lets nobody mount")
    try:
        assert main(["generate", "a", "-o", "out/clip.mp4", "--sheet"]) == 1
        assert os.listdir("out") == []
    finally:
        subprocess.run(["umount", "out"], check=True)
    said = capsys.readouterr().err
    assert "No space left on device; the finished video is saved as" in said and said.count("\n") == 1
    assert len(read(shelter / "clip.mp4").frames) == 24


@pytest.mark.parametrize("metadata", [True, False])
def test_without_an_encoder_the_frames_are_kept(
    metadata: bool, shelter: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def broken(*words: Any, **more: Any) -> None:
        raise GenkitError("the video could not be encoded as H.264: no codec libx264")

    monkeypatch.setattr(genkit.video.video, "encode", broken)
    video = Video(FRAMES, 8.0, {"prompt": "secret"}, receipt())
    with pytest.raises(GenkitError, match=r"no codec libx264; the finished video is saved as '.*\.npz'"):
        video.save(tmp_path / "clip.mp4", metadata=metadata)
    (place,) = shelter.rglob("*.npz")
    assert np.array_equal(decode(place).frames, FRAMES) and decode(place).fps == 8
    assert (b"secret" in place.read_bytes().replace(b"\0", b"")) == metadata
    assert files(tmp_path) == [] and np.array_equal(video.frames, FRAMES)


@pytest.mark.parametrize("error", [RuntimeError("broke"), MemoryError("no memory"), ValueError("odd")])
def test_an_unforeseen_failure_keeps_its_kind_and_the_video(
    error: Exception, shelter: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def breaks(path: Path, *words: Any, **more: Any) -> None:
        if path.parent == tmp_path:
            raise error
        genkit.files.encode.encode(path, *words, **more)

    monkeypatch.setattr(genkit.video.video, "encode", breaks)
    with pytest.raises(type(error), match="; the finished video is saved as"):
        Video(FRAMES, 8.0).save(tmp_path / "clip.mp4")
    assert (shelter / "clip.mp4").is_file()


def test_a_wrong_name_after_the_work_costs_no_video(shelter: Path, tmp_path: Path) -> None:
    made = Video(FRAMES, 8.0, {"prompt": "a"}, receipt())
    for count, words in enumerate([{"path": "clip.mov"}, {"path": "clip.mp4", "crf": 0}], 1):
        with pytest.raises(UsageError, match="saved as"):
            made.save(**words | {"path": tmp_path / words["path"]})
        assert len(list(shelter.glob("*.mp4"))) == count
    with pytest.raises(UsageError, match="crf=0 must be a whole number from 1 .best. to 51$"):
        Video(FRAMES, 8.0).save(tmp_path / "clip.mp4", crf=0)
    made.save(tmp_path / "clip.mp4")
    assert len(list(shelter.glob("*.mp4"))) == 2, "where nothing fails nothing is kept elsewhere"


def test_places_are_tried_one_after_the_other(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "cache").mkdir()
    monkeypatch.setenv("GENKIT_RESCUE", str(tmp_path / "file"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    tried: list[Path] = []

    def writer(folder: Path) -> Path:
        tried.append(folder)
        if len(tried) == 2:
            return folder / "x"
        raise OSError(errno.ENOSPC, "full")

    assert rescue("it", writer) == f"it is saved as {str(tried[1] / 'x')!r}"
    assert tried[0] == tmp_path / "cache" / "genkit" / "rescued" and tried[1].parent == tmp_path
    tried.append(tmp_path)
    assert rescue("it", writer).startswith("there was no place left to save it")
    assert sorted(os.listdir(tmp_path)) == sorted(["cache", "file", tried[1].name]), "empty folders are removed"


# Nobody's file is written over


def test_a_file_that_genkit_did_not_make_is_refused_before_any_work(make: FakeMake, capsys: Any) -> None:
    Path("clip.mp4").write_bytes(b"my holidays")
    assert main(["generate", "a", "-o", "clip.mp4"]) == 2
    assert "already exists and is not a video that genkit made" in capsys.readouterr().err
    assert make.requests == [] and Path("clip.mp4").read_bytes() == b"my holidays"
    Path("clip.mp4").write_bytes(b"")
    assert [main(["generate", word, "-o", "clip.mp4"]) for word in "ab"] == [0, 0], (
        "ours is replaced, and what is empty"
    )
    assert (
        read_request("clip.mp4")["prompt"] == "b"
        and json.loads(Path("clip.mp4.json").read_text())["request"]["prompt"] == "b"
    )


@pytest.mark.parametrize("theirs", [b'{"mine": 1}', b"", b"\xff", b'{"generator": "other 1", "request": {}}'])
def test_what_lies_beside_stays(theirs: bytes, make: FakeMake, tmp_path: Path) -> None:
    for name in ("clip.mp4.json", "clip.mp4.png"):
        Path(name).write_bytes(theirs)
    for _ in range(2):
        assert main(["generate", "a", "-o", "clip.mp4", "--sheet"]) == 0
        assert Path("clip.mp4.json").read_bytes() == Path("clip.mp4.png").read_bytes() == theirs
    assert read_request("clip.mp4")["prompt"] == "a"
    assert is_recipe(Path("clip.mp4-2.json")) and is_picture(Path("clip.mp4-2.png"))
    assert main(["generate", "a", "-o", "clip.mp4", "--no-metadata"]) == 0
    assert Path("clip.mp4.json").read_bytes() == theirs


def test_what_is_ours_beside_is_replaced(make: FakeMake, tmp_path: Path) -> None:
    for word in "ab":
        assert main(["generate", word, "-o", "clip.mp4", "--sheet"]) == 0
    assert files(tmp_path) == ["clip.mp4", "clip.mp4.json", "clip.mp4.png"]


def test_a_link_is_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "theirs").write_text("mine")
    for name in ("clip.mp4", "clip.mp4.json", "clip.mp4.png"):
        (tmp_path / name).symlink_to(tmp_path / "theirs")
    Video(FRAMES, 8.0, {"prompt": "a"}).save(tmp_path / "clip.mp4", sheet=True)
    assert (tmp_path / "theirs").read_text() == "mine" and not (tmp_path / "clip.mp4").is_symlink()


def test_a_file_that_comes_meanwhile_is_not_replaced(
    make: FakeMake, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    while_made(make, lambda: Path("clip.mp4").write_bytes(b"my holidays"), monkeypatch)
    assert main(["generate", "a", "-o", "clip.mp4"]) == 0
    assert capsys.readouterr().out == "clip-2.mp4\n"
    assert Path("clip.mp4").read_bytes() == b"my holidays" and read_request("clip-2.mp4")["prompt"] == "a"


def test_a_default_name_leaves_a_name_whose_companions_are_taken(tmp_path: Path) -> None:
    (tmp_path / "x.mp4.json").write_text("mine")
    (tmp_path / "x-2.mp4.png").write_text("mine")
    assert Video(FRAMES, 8.0).save(Target(tmp_path / "x.mp4", False)) == tmp_path / "x-3.mp4"


@pytest.mark.parametrize("number", [None, errno.EPERM, errno.EOPNOTSUPP])
def test_a_name_is_claimed_once(number: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where a file cannot have two names."""

    def refused(*words: Any) -> None:
        raise OSError(number, "no links here")

    if number:
        monkeypatch.setattr(os, "link", refused)
    for count, text in enumerate("ab"):
        (tmp_path / text).write_text(text)
        assert claim(tmp_path / text, tmp_path / "name") == (count == 0)
    assert (tmp_path / "name").read_text() == "a" and sorted(os.listdir(tmp_path)) == ["b", "name"]


RACE = """
import sys, time
import numpy as np
import genkit
from genkit.video.video import Video
def make(request, on_event=None):
    print("ready", flush=True)
    sys.stdin.readline()
    return Video(np.zeros((2, 16, 16, 3), np.uint8), 8.0, {"prompt": request.prompt, "seed": 7})
genkit.make = make
from genkit.apps.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.slow
@pytest.mark.parametrize(("output", "old"), [("folder", False), ("clip.mp4", False), ("clip.mp4", True)])
def test_eight_runs_at_once_leave_eight_videos(output: str, old: bool, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    if old:
        Video(FRAMES, 8.0, {"prompt": "old"}).save(tmp_path / "clip.mp4")
    pipes: dict[str, Any] = {
        "stdin": subprocess.PIPE,
        "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE,
        "text": True,
    }
    runs = [
        subprocess.Popen([sys.executable, "-c", RACE, "generate", "same", "-o", output], cwd=tmp_path, **pipes)
        for _ in range(8)
    ]
    assert all(run.stdout is not None and run.stdout.readline() == "ready\n" for run in runs)
    for run in runs:
        assert run.stdin is not None
        run.stdin.write("\n")
        run.stdin.flush()
    said = [run.communicate(timeout=120)[0] for run in runs]
    assert [run.returncode for run in runs] == [0] * 8
    names = {line.strip() for line in said}
    assert len(names) == 8
    assert all(read_request(tmp_path / name)["prompt"] == "same" for name in names)
    assert len(list(tmp_path.rglob("*.mp4"))) == len(list(tmp_path.rglob("*.json"))) == 8
    assert not list(tmp_path.rglob(".*"))


def test_what_a_crashed_run_left_harms_no_other(make: FakeMake, tmp_path: Path) -> None:
    (tmp_path / ".genkit-0123456789ab.part").write_bytes(b"half")
    assert main(["generate", "a", "-o", "clip.mp4"]) == 0
    assert read_request("clip.mp4")["prompt"] == "a"
