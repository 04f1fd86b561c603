"""What an evaluation takes from a folder, and what no file can make it do."""

import json
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from genkit.benchmarks.evaluate import clips
from genkit.benchmarks.evaluate.registry import find_suite
from genkit.benchmarks.evaluate.run import evaluate, failures
from genkit.benchmarks.suites import lite
from genkit.errors import GenkitError, UsageError
from genkit.tiny.world import EXAMPLE, render
from genkit.video.video import Video


def moving(seed: int, frames: int = 5) -> Video:
    """A painted clip of 64 x 64."""
    return Video(render([EXAMPLE], torch.Generator().manual_seed(seed), num_frames=frames, side=64)[0], 8.0)


# What lies in a folder


def test_a_gif_is_measured_and_other_videos_are_told(tmp_path: Path) -> None:
    """They were passed over without a word."""
    from PIL import Image

    frames = [Image.fromarray(frame) for frame in moving(0).uint8()]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:], duration=120)
    frames[0].save(tmp_path / "B.APNG", format="png", save_all=True, append_images=frames[1:], duration=125)
    for name in ("c.wmv", "d.mpg", "e.FLV", "f.3gp"):
        (tmp_path / name).write_bytes(b"some video")
    for name in ("a.gif.json", "a.gif.png", "notes.txt", ".hidden.mp4"):
        (tmp_path / name).write_bytes(b"no video")
    results = evaluate(find_suite("lite", only=["flicker", "dynamic_degree"]), [tmp_path], tmp_path / "run")
    assert set(failures(results)) == {"c.wmv", "d.mpg", "e.FLV", "f.3gp"}
    assert all("is not that of a video that can be read" in reason for reason in failures(results).values())
    assert {video["name"] for video in results["videos"]} - set(failures(results)) == {"B.APNG", "a.gif"}
    assert clips.decode(tmp_path / "a.gif").fps == pytest.approx(1 / 0.12)
    assert clips.decode(tmp_path / "B.APNG").fps == pytest.approx(8)


def test_the_exact_name_wins_over_another_suffix(tmp_path: Path) -> None:
    suite = find_suite("similarity", only=["psnr"])
    for where in ("videos", "reference"):
        (tmp_path / where).mkdir()
    moving(0).save(tmp_path / "videos" / "a.mp4", enlarge=1)
    for name, seed in (("a.mp4", 0), ("a.avi", 1), ("a.mov", 1), ("a.npz", 1)):
        moving(seed).save(tmp_path / "reference" / "x.mp4", enlarge=1).rename(tmp_path / "reference" / name)
    clips.save_raw(moving(1), tmp_path / "reference" / "a.npz")
    results = evaluate(suite, [tmp_path / "videos"], tmp_path / "run", reference=tmp_path / "reference")
    assert results["videos"][0]["metrics"]["similarity.psnr"]["sum"] == 100 * 5
    (tmp_path / "reference" / "a.mp4").unlink()
    with pytest.raises(
        UsageError, match="'a.mp4' has two references, 'a.avi' and 'a.mov'; remove one, or give one the"
    ):
        evaluate(suite, [tmp_path / "videos"], tmp_path / "run", reference=tmp_path / "reference", resume=True)
    for name in ("a.avi", "a.mov"):
        (tmp_path / "reference" / name).unlink()
    results = evaluate(suite, [tmp_path / "videos"], tmp_path / "run", reference=tmp_path / "reference", resume=True)
    assert results["videos"][0]["metrics"]["similarity.psnr"]["sum"] < 40 * 5


def test_one_content_under_two_names_is_judged_by_each_name(tmp_path: Path) -> None:
    content = moving(0).save(tmp_path / "a.mp4", enlarge=1, metadata=False).read_bytes()
    (tmp_path / "b.mkv").write_bytes(content)
    results = evaluate(find_suite("lite"), [tmp_path / "b.mkv", tmp_path / "a.mp4"], tmp_path / "run")
    assert list(failures(results)) == ["b.mkv"]
    assert "looks like a .mp4 file: rename it" in failures(results)["b.mkv"]


def test_what_is_no_file_is_told_and_does_not_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    for path in (tmp_path / "pipe.mp4", Path("/dev/zero")):
        with pytest.raises(UsageError, match=f"'{path}' is neither a file nor a folder; name a video file"):
            clips.find([path])
    moving(0).save(tmp_path / "a.mp4")
    assert [clip.name for clip in clips.find([tmp_path])] == ["a.mp4"]
    (tmp_path / "closed").mkdir()
    look = os.scandir

    def closed(folder: Any) -> Any:
        if str(folder).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(folder))
        return look(folder)

    monkeypatch.setattr(os, "scandir", closed)
    with pytest.raises(UsageError, match="cannot read the folder '.*closed': Permission denied"):
        clips.find([tmp_path])


# Files that are too large


def test_a_bomb_ends_no_evaluation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small files that would unpack to more than the bound: told, before anything is unpacked."""
    moving(0).save(tmp_path / "good.mp4", enlarge=1, metadata=False)
    moving(0, 40).save(tmp_path / "long.mp4", enlarge=1, metadata=False)
    np.savez_compressed(tmp_path / "long.npz", frames=np.zeros((40, 64, 64, 3), np.uint8), fps=8.0)
    np.savez_compressed(tmp_path / "rate.npz", frames=np.zeros((4, 64, 64, 3), np.uint8), fps=np.zeros(10**6))
    np.savez_compressed(
        tmp_path / "request.npz", frames=moving(0).frames, fps=8.0, request=json.dumps({"prompt": "x" * 10**6})
    )
    monkeypatch.setattr("genkit.files.decode.FILM_BYTES", 30 * 64 * 64 * 3)
    monkeypatch.setattr("genkit.benchmarks.evaluate.clips.RAW_TEXT", 10**5)
    results = evaluate(find_suite("lite", only=["flicker", "dynamic_degree"]), [tmp_path], tmp_path / "run")
    reasons = failures(results)
    assert set(reasons) == {"long.mp4", "long.npz", "rate.npz"}
    assert reasons["long.mp4"].startswith("the 40 frames of 64x64 in the file take 0.000458 GiB of memory; at most")
    assert reasons["long.npz"].startswith("the raw frames in the file take 0.000458 GiB of memory; at most")
    assert "'fps' in the file has 8,000,128 bytes; at most 100,000 are read" in reasons["rate.npz"]
    assert {video["name"]: video["prompt"] for video in results["videos"]}["request.npz"] == "request"


def test_raw_frames_that_lie_about_their_shape(tmp_path: Path) -> None:
    for name, shape in (("huge", (10**9, 10**4, 10**4, 3)), ("more", (400, 64, 64, 3)), ("negative", (-4, 64, 64, 3))):
        header = repr({"descr": "|u1", "fortran_order": False, "shape": shape}).ljust(117).encode() + b"\n"
        content = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(4 * 64 * 64 * 3)
        with zipfile.ZipFile(tmp_path / f"{name}.npz", "w") as archive:
            archive.writestr("frames.npy", content)
            archive.writestr("fps.npy", b"")
        with pytest.raises(GenkitError, match=f"{name}.npz"):
            clips.decode(tmp_path / f"{name}.npz")


def test_what_is_no_archive_of_frames_runs_nothing(tmp_path: Path) -> None:
    np.save(tmp_path / "array.npy", np.zeros(5))
    np.savez(tmp_path / "pickle.npz", frames=np.array([Path], object), fps=8.0)
    np.savez(tmp_path / "short.npz", fps=8.0)
    (tmp_path / "array.npy").rename(tmp_path / "array.npz")
    for name in ("array", "pickle", "short"):
        with pytest.raises(GenkitError, match=f"{name}.npz' cannot be decoded: ."):
            clips.decode(tmp_path / f"{name}.npz")
        assert clips.find([tmp_path / f"{name}.npz"])[0].request == {}


def test_what_memory_refuses_today_is_measured_another_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    moving(0).save(tmp_path / "a.mp4", enlarge=1, metadata=False)
    suite = find_suite("lite")
    with monkeypatch.context() as small:
        small.setattr("genkit.files.decode.free_memory", lambda: 5 * 64 * 64 * 3 * 2)
        results = evaluate(suite, [tmp_path / "a.mp4"], tmp_path / "run")
        assert (
            "and the work on them 3 times as much, but 0.000114 are free: cut it or scale it"
            in failures(results)["a.mp4"]
        )

    def too_much(self: Any, sample: Any) -> None:
        raise MemoryError

    with monkeypatch.context() as small:
        small.setattr(lite.SeamJump, "measure", too_much)
        results = evaluate(suite, [tmp_path / "a.mp4"], tmp_path / "run", resume=True)
        assert failures(results) == {"a.mp4": "not enough memory to measure it"}
        assert results["metrics"]["lite.flicker"]["videos"] == 1
    assert failures(evaluate(suite, [tmp_path / "a.mp4"], tmp_path / "run", resume=True)) == {}
