"""The video file: colours, sizes, the container, and nothing half written."""

import errno
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from ffmpeg_program import shown_by_ffmpeg
from PIL import Image

import genkit.files.encode
import genkit.video.video
from genkit.errors import GenkitError, UsageError
from genkit.files.encode import yuv420
from genkit.files.whole import replacing
from genkit.record.receipt import Receipt
from genkit.video.video import Video, check_writable, read

BT709_LUMA = np.array([0.2126, 0.7152, 0.0722])
REQUEST = {"prompt": "a fox", "seed": 7}


def moving_clip(frames: int = 17, height: int = 64, width: int = 64) -> np.ndarray:
    """Saturated shapes that move over a navy background with a grey ramp below."""
    rows, columns = np.mgrid[:height, :width]
    clip = np.full((frames, height, width, 3), (10, 20, 90), np.uint8)
    for t, frame in enumerate(clip):
        frame[(columns - 12 - 2 * t) ** 2 + (rows - 20) ** 2 < 100] = (230, 10, 20)
        frame[34:44, 4 + t : 24 + t] = (20, 230, 40)
        frame[4:10, 50 - t : 60 - t] = (250, 240, 10)
        frame[50:] = np.linspace(0, 255, width).astype(np.uint8)[:, None]
    return clip


def receipt() -> Receipt:
    return Receipt(
        model="tiny", pipeline="WanPipeline", device="cpu", dtype="float32", seed=7, frames=17, height=64, width=64,
        fps=16.0, started="2026-01-02T03:04:05+00:00", notes=("a note",),
    )  # fmt: skip


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    return Video(moving_clip(), 16.0, REQUEST, receipt()).save(tmp_path / "clip.mp4")


def luma_error(got: np.ndarray, true: np.ndarray) -> float:
    return float(np.abs((got.astype(float) - true) @ BT709_LUMA).mean())


def folder(path: Path) -> list[str]:
    return sorted(entry.name for entry in path.iterdir())


# Colours and quality


def test_conversion_is_the_one_of_the_standard() -> None:
    """The 75 % colour bars in 8-bit BT.709 are published numbers (SMPTE RP 219)."""
    bars = {(191, 191, 191): (180, 128, 128), (191, 191, 0): (168, 44, 136), (0, 191, 191): (145, 147, 44),
            (0, 191, 0): (133, 63, 52), (191, 0, 191): (63, 193, 204), (191, 0, 0): (51, 109, 212),
            (0, 0, 191): (28, 212, 120), (0, 0, 0): (16, 128, 128), (255, 255, 255): (235, 128, 128)}  # fmt: skip
    for rgb, expected in bars.items():
        planes = yuv420(np.full((2, 2, 3), rgb, np.uint8)).ravel()
        assert (planes[0], planes[4], planes[5]) == expected


def test_every_right_decoder_shows_the_same_colour(tmp_path: Path) -> None:
    path = Video(np.full((3, 64, 64, 3), (200, 60, 30), np.uint8), 16).save(tmp_path / "flat.mp4")

    def off(*scale: str) -> int:
        """How far the ffmpeg program is from the colour, by the tags of the file or by a matrix in their place."""
        return np.abs(shown_by_ffmpeg(path, (256, 256), *scale)[1, 9, 9].astype(int) - (200, 60, 30)).max()

    assert read(path).frames[1, 9, 9].tolist() == [200, 60, 30]
    assert off() <= 1
    assert off("in_color_matrix=bt709:in_range=tv") <= 2  # FFmpeg's fast path is off by one step of luma
    # A player that ignored the tags and took the matrix of old television would be clearly wrong: it is not that one.
    assert off("in_color_matrix=bt601:in_range=tv") >= 10


@pytest.mark.parametrize("enlarge", [1, None])
def test_default_quality_loses_little(tmp_path: Path, enlarge: int | None) -> None:
    clip = moving_clip()
    path = Video(clip, 16).save(tmp_path / "clip.mp4", enlarge=enlarge)
    factor = 4 if enlarge is None else 1
    true = clip.repeat(factor, 1).repeat(factor, 2)
    assert luma_error(read(path).frames, true) <= 2
    assert luma_error(shown_by_ffmpeg(path, true.shape[1:3]), true) <= 2
    assert path.stat().st_size < 20_000 + clip[0].size * factor**2


def test_uint8_and_its_float_twin_give_the_same_bytes(tmp_path: Path) -> None:
    clip = moving_clip(9)
    twins = [clip, clip.astype(np.float32) / 255, torch.from_numpy(clip).half() / 255]
    files = [Video(twin, 16).save(tmp_path / f"{n}.mp4").read_bytes() for n, twin in enumerate(twins)]
    assert files[0] == files[1] == files[2]


def test_a_larger_crf_is_a_smaller_file(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (5, 64, 64, 3), np.uint8)
    sizes = [Video(noise, 16).save(tmp_path / "c.mp4", crf=crf).stat().st_size for crf in (1, 16, 40)]
    assert sizes[0] > sizes[1] > sizes[2]


# The container


def test_stream_is_what_browsers_play(saved: Path) -> None:
    with av.open(str(saved)) as container:
        stream = container.streams.video[0]
        context = stream.codec_context
        assert (context.name, context.pix_fmt, stream.frames) == ("h264", "yuv420p", 17)
        assert [int(x) for x in (context.colorspace, context.color_primaries, context.color_trc)] == [1, 1, 1]
        assert int(context.color_range) == 1
        assert stream.average_rate == 16
        assert float(stream.duration * stream.time_base) == pytest.approx(17 / 16)


@pytest.mark.parametrize(("fps", "exact"), [(30000 / 1001, (30000, 1001)), (8, (8, 1)), (12.5, (25, 2)), (0.5, (1, 2))])
def test_the_rate_is_an_exact_fraction(tmp_path: Path, fps: float, exact: tuple[int, int]) -> None:
    path = Video(moving_clip(3), fps).save(tmp_path / "clip.mp4")
    with av.open(str(path)) as container:
        assert container.streams.video[0].average_rate.as_integer_ratio() == exact
    assert read(path).fps == fps


def test_the_index_comes_before_the_data(saved: Path) -> None:
    data, start, boxes = saved.read_bytes(), 0, []
    while start < len(data):
        size, kind = int.from_bytes(data[start : start + 4], "big"), data[start + 4 : start + 8]
        boxes.append(kind)
        start += size
    assert boxes.index(b"moov") < boxes.index(b"mdat")


@pytest.mark.parametrize(
    ("size", "enlarge", "expected"),
    [((64, 64), None, (256, 256)), ((480, 832), None, (480, 832)), ((96, 128), None, (288, 384)),
     ((64, 64), 2, (128, 128)), ((33, 17), 1, (34, 18)), ((33, 17), 3, (100, 52)), ((255, 255), None, (510, 510))],
)  # fmt: skip
def test_sizes_in_the_file(
    tmp_path: Path, size: tuple[int, int], enlarge: int | None, expected: tuple[int, int]
) -> None:
    video = Video(np.zeros((1, *size, 3), np.uint8), 8)
    assert read(video.save(tmp_path / "clip.mp4", enlarge=enlarge)).frames.shape == (1, *expected, 3)


def test_an_odd_side_is_completed_not_rescaled_and_the_receipt_says_so(tmp_path: Path) -> None:
    frames = np.zeros((2, 63, 40, 3), np.uint8)
    frames[:, 62:] = 255
    back = read(Video(frames, 8, {}, receipt()).save(tmp_path / "clip.mp4", enlarge=1))
    assert back.frames.shape == (2, 64, 40, 3)
    assert (back.frames[:, 62:] > 240).all() and (back.frames[:, :60] < 15).all()
    assert "repeats the last row, because H.264 needs even sizes and the video has 63x40" in back.receipt.notes[-1]


def test_enlarging_repeats_pixels_and_leaves_the_raw_frames(tmp_path: Path) -> None:
    clip = moving_clip(2)
    video = Video(clip, 8)
    big = read(video.save(tmp_path / "clip.mp4", crf=1)).frames
    assert np.abs(big[:, 2::4, 2::4].astype(int) - clip).mean() < 2
    assert video.frames.shape == clip.shape


# Writing


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("the encoder broke"), MemoryError()])
@pytest.mark.parametrize("old", [None, b"an older video"])
def test_nothing_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, old: bytes | None
) -> None:
    path = tmp_path / "clip.mp4"
    if old:
        path.write_bytes(old)
    calls = iter(range(120))

    def breaks_in_the_middle(frame: np.ndarray) -> np.ndarray:
        if next(calls) == 90:  # the encoder looks ahead, so the first frames reach the disk late
            assert any(name.endswith(".part") for name in folder(tmp_path))
            raise error
        return yuv420(frame)

    monkeypatch.setattr(genkit.files.encode, "yuv420", breaks_in_the_middle)
    with pytest.raises(type(error)):
        Video(moving_clip(100, 32, 64), 8).save(path, enlarge=1)
    assert folder(tmp_path) == (["clip.mp4"] if old else [])
    assert not old or path.read_bytes() == old


def test_a_full_disk_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object, **kwargs: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(genkit.video.video, "encode", full)
    with pytest.raises(GenkitError, match="clip.mp4' could not be written: No space left on device"):
        Video(moving_clip(1), 8).save(tmp_path / "clip.mp4")
    assert folder(tmp_path) == []


@pytest.mark.parametrize("side", [genkit.files.encode.SIDE_PIXELS, 10**6])
def test_a_refusal_of_the_encoder_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, side: int) -> None:
    """Ours, and that of the encoder itself where our bound is lifted."""
    monkeypatch.setattr(genkit.files.encode, "SIDE_PIXELS", side)
    with pytest.raises(GenkitError, match="could not be encoded as H.264"):
        Video(np.zeros((1, 2, 40000, 3), np.uint8), 8).save(tmp_path / "clip.mp4", enlarge=1, rescue=False)
    assert folder(tmp_path) == []


def test_a_narrow_strip_is_enlarged_as_far_as_a_file_allows(tmp_path: Path) -> None:
    """Enlarged until its two rows were 256, it took 20 GB: the enlargement is bounded by the longer side too."""
    path = Video(np.zeros((2, 2, 9000, 3), np.uint8), 8).save(tmp_path / "strip.mp4")
    assert read(path).frames.shape == (2, 2, 9000, 3)
    with pytest.raises(UsageError, match=r"enlarge=300 makes frames of 19200x9600 .* the max for this video is 181"):
        Video(np.zeros((1, 32, 64, 3), np.uint8), 8).save(tmp_path / "clip.mp4", enlarge=300)
    assert not (tmp_path / "clip.mp4").exists()


def test_a_video_too_large_for_a_file_is_kept_as_raw_frames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENKIT_RESCUE", str(tmp_path / "kept"))
    film = Video(np.full((1, 2, 40000, 3), 7, np.uint8), 8, REQUEST, receipt())
    with pytest.raises(UsageError, match="frames of 40000x2 pixels could not be encoded as H.264: .* is saved as"):
        film.save(tmp_path / "clip.mp4")
    (kept,) = tmp_path.glob("kept/**/clip.npz")
    assert np.array_equal(np.load(kept)["frames"], film.frames)


def test_all_targets_change_together_or_none(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "deep" / "b"
    with replacing(first, second) as (one, two):
        one.write_text("1")
        two.write_text("2")
        assert not first.exists() and not second.exists()
    assert (first.read_text(), second.read_text()) == ("1", "2")


def test_missing_folders_are_made_only_when_something_is_written(tmp_path: Path) -> None:
    path = tmp_path / "new" / "deep" / "clip.mp4"
    assert check_writable(str(path)) == path
    assert folder(tmp_path) == []
    assert Video(moving_clip(1), 8).save(path).is_file()


def test_outputs_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder.mp4").mkdir()
    cases = {
        "clip.avi": "must end in .mp4",
        "folder.mp4": "folder.mp4' is a folder",
        "file/clip.mp4": "file' is not a folder",
        "file/deep/clip.mp4": "file' is not a folder",
        "x" * 300 + ".mp4": "[Nn]ame too long; choose another place",
    }
    for name, message in cases.items():
        for attempt in (check_writable, Video(moving_clip(1), 8).save):
            with pytest.raises(UsageError, match=message):
                attempt(tmp_path / name)
    assert folder(tmp_path) == ["file", "folder.mp4"]


def test_a_protected_folder_is_refused_before_anything_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*args: object, **kwargs: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "touch", denied)
    with pytest.raises(UsageError, match="cannot write .*clip.mp4': Permission denied; choose another place"):
        check_writable(tmp_path / "clip.mp4")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"crf": 0}, "crf=0 must be"), ({"crf": 52}, "crf=52"), ({"crf": 1.5}, "crf=1.5"), ({"enlarge": 0}, "enlarge=0"),
     ({"enlarge": 1.5}, "enlarge=1.5")],
)  # fmt: skip
def test_impossible_settings(tmp_path: Path, arguments: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Video(moving_clip(1), 8).save(tmp_path / "clip.mp4", **arguments)


def test_a_request_that_json_cannot_hold(tmp_path: Path) -> None:
    for value in (object(), float("nan")):
        with pytest.raises(UsageError, match="request of the video cannot be stored as JSON"):
            Video(moving_clip(1), 8, {"options": value}).save(tmp_path / "clip.mp4")
    assert folder(tmp_path) == []


def test_a_sheet_on_request(tmp_path: Path) -> None:
    Video(moving_clip(), 16, REQUEST).save(tmp_path / "clip.mp4", sheet=True)
    assert folder(tmp_path) == ["clip.mp4", "clip.mp4.json", "clip.mp4.png"]
    assert Image.open(tmp_path / "clip.mp4.png").format == "PNG"
