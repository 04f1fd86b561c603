"""The recipe of a video: in the file, beside it, and what is said where it is missing or damaged."""

import json
from pathlib import Path

import av
import numpy as np
import pytest
from ffmpeg_program import ffmpeg

from genkit.errors import GenkitError, UsageError
from genkit.files.encode import encode
from genkit.record.receipt import Receipt
from genkit.video.recipe import is_recipe
from genkit.video.video import Video, read, read_request

NASTY = "two lines\nand \"quotes\", a \\ backslash, 'ticks', = ; # %, 红色的圆, 🎬, \t and a lone \udc80"
REQUEST = {"prompt": NASTY, "model": "tiny", "seed": 7, "plugins": ["radial:density=0.3"], "guidance_scale": None}


def clip(frames: int = 17) -> np.ndarray:
    """A bright square that moves over navy."""
    frames_THWC = np.full((frames, 64, 64, 3), (10, 20, 90), np.uint8)
    for t, frame in enumerate(frames_THWC):
        frame[20:40, 2 * t : 2 * t + 20] = (230, 180, 20)
    return frames_THWC


def receipt() -> Receipt:
    return Receipt(
        model="tiny", pipeline="WanPipeline", device="cpu", dtype="float32", seed=7, frames=17, height=64, width=64,
        fps=16.0, started="2026-01-02T03:04:05+00:00", notes=(NASTY,),
    )  # fmt: skip


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    return Video(clip(), 16.0, REQUEST, receipt()).save(tmp_path / "clip.mp4")


def folder(path: Path) -> list[str]:
    return sorted(entry.name for entry in path.iterdir())


def test_request_and_receipt_come_back_exactly(saved: Path) -> None:
    back = read(saved)
    assert back.request == read_request(saved) == REQUEST
    assert back.receipt == receipt()
    assert (back.fps, back.frames.dtype, len(back.frames)) == (16.0, np.uint8, 17)


def test_the_recipe_lies_beside_the_file_too(saved: Path) -> None:
    beside = json.loads((saved.parent / "clip.mp4.json").read_text("utf-8"))
    with av.open(str(saved)) as container:
        assert json.loads(container.metadata["comment"]) == beside
        assert container.metadata["title"].startswith('two lines and "quotes"')
    assert beside["schema_version"] == 2 and beside["generator"].startswith("genkit-video ")
    assert beside["digitalSourceType"].endswith("/digitalsourcetype/trainedAlgorithmicMedia")
    assert beside["file"]["enlarge"] == 4
    assert "红色的圆, 🎬" in (saved.parent / "clip.mp4.json").read_text("utf-8")


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_the_recipe_survives_a_copy_by_ffmpeg(saved: Path, suffix: str) -> None:
    copy = saved.with_name("copy" + suffix)
    ffmpeg("-i", saved, "-c", "copy", copy)
    back = read(copy)
    assert (back.request, back.receipt) == (REQUEST, receipt())
    assert len(back.frames) == 17


def test_a_long_recipe_survives(tmp_path: Path) -> None:
    request = {"prompt": NASTY * 2000}
    assert read_request(Video(clip(1), 8, request).save(tmp_path / "clip.mp4")) == request


def stripped(path: Path) -> None:
    """Do what sites do: rewrite the container without its tags."""
    bare = path.with_name("bare.mp4")
    ffmpeg("-i", path, "-map_metadata", "-1", "-c", "copy", bare)
    bare.replace(path)


def test_a_stripped_file_is_read_with_the_recipe_beside_it(saved: Path) -> None:
    stripped(saved)
    assert read(saved).request == REQUEST
    (saved.parent / "clip.mp4.json").unlink()
    with pytest.raises(UsageError, match="contains no genkit recipe"):
        read(saved)


def test_a_recipe_of_another_video_is_not_taken(saved: Path) -> None:
    Video(clip(9), 16).save(saved.with_name("other.mp4"), metadata=False)
    saved.with_name("other.mp4").replace(saved)
    with pytest.raises(UsageError, match="there is no matching one beside it"):
        read_request(saved)


def test_a_recipe_that_an_editor_gave_a_mark_of_byte_order_is_read(saved: Path) -> None:
    said, beside = read_request(saved), saved.with_name("clip.mp4.json")
    text = beside.read_text("utf-8")
    Video(clip(), 16.0, REQUEST, receipt()).save(saved, metadata=False)
    beside.write_text(text, "utf-8-sig")
    assert read_request(saved) == said and is_recipe(beside)


def test_without_metadata_nothing_is_told(saved: Path) -> None:
    Video(clip(), 16.0, REQUEST, receipt()).save(saved, metadata=False)
    assert folder(saved.parent) == ["clip.mp4"]
    with av.open(str(saved)) as container:
        assert not {"comment", "title"} & set(container.metadata)
    assert b"quotes" not in saved.read_bytes()


def test_without_metadata_a_json_of_somebody_else_stays(tmp_path: Path) -> None:
    (tmp_path / "clip.mp4.json").write_text("{}")
    Video(clip(1), 8).save(tmp_path / "clip.mp4", metadata=False)
    assert folder(tmp_path) == ["clip.mp4", "clip.mp4.json"]


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no video file .*clip.mp4"):
        read_request(tmp_path / "clip.mp4")


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "is empty"), (b"no video at all " * 50, "damaged, cut short or not a video"), (None, "damaged, cut short")],
)
def test_a_broken_file(saved: Path, content: bytes | None, message: str) -> None:
    saved.write_bytes(saved.read_bytes()[:400] if content is None else content)
    for reader in (read, read_request):
        with pytest.raises(UsageError, match=message):
            reader(saved)


def test_a_file_without_its_end_still_tells_its_request(saved: Path) -> None:
    saved.write_bytes(saved.read_bytes()[:-200])
    with pytest.raises(GenkitError, match=r"only [1-9]\d* of 17 frames of .*clip.mp4"):
        read(saved)
    assert read_request(saved) == REQUEST


def with_comment(path: Path, comment: str) -> Path:
    frames = [np.zeros((64, 64, 3), np.uint8)]
    encode(path, frames, size=(64, 64), fps=8, crf=30, tags={"comment": comment} if comment else {})
    return path


@pytest.mark.parametrize(
    ("comment", "message"),
    [
        ("", "contains no genkit recipe"),
        ("a holiday film", "contains no genkit recipe"),
        ('{"prompt": "of another tool"}', "contains no genkit recipe"),
        ("[" * 100_000, "contains no genkit recipe"),
        ('{"generator": "genkit-video 9.0", "schema_version": 3}', r"schema version 3 \(written by genkit-video 9.0\)"),
        ('{"generator": "genkit-video 0.1", "schema_version": 1, "request": 5, "file": {}}', "it has no request"),
        (
            '{"generator": "genkit-video 0.1", "schema_version": 1, "request": {}, "file": {}, "receipt": {"a": "x"}}',
            "the receipt in .* is damaged: ",
        ),
    ],
)
def test_a_foreign_or_damaged_recipe(tmp_path: Path, comment: str, message: str) -> None:
    path = with_comment(tmp_path / "clip.mp4", comment)
    for reader in (read, read_request):
        with pytest.raises(UsageError, match=message):
            reader(path)
