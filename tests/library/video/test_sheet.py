"""Contact sheets: every frame at its place, captions and times on paper."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from genkit.errors import UsageError
from genkit.video.sheet import GAP, contact_sheet, save_sheet, shown_frames


def coloured(frames: int, height: int = 64, width: int = 64) -> np.ndarray:
    """Frame t is plain and has t as its red value, so that a sheet can be read back; none is as white as paper."""
    clip = np.full((frames, height, width, 3), (0, 200, 250), np.uint8)
    clip[..., 0] = np.arange(frames)[:, None, None]
    return clip


def reading_order(sheet: Image.Image, cell: tuple[int, int], top: int, columns: int) -> list[int]:
    """The red value in the middle of each cell that is not paper, row by row; ``cell`` is (rows, columns) of pixels."""
    pixels = np.asarray(sheet)
    height, width = cell
    middles = [
        pixels[y, GAP + x * (width + GAP) + width // 2]
        for y in range(top + height // 2, pixels.shape[0], height + 16 + GAP)
        for x in range(columns)
        if GAP + x * (width + GAP) + width // 2 < pixels.shape[1]
    ]
    return [int(m[0]) for m in middles if tuple(m[1:]) == (200, 250)]


def test_frames_are_in_reading_order() -> None:
    sheet = contact_sheet([("", coloured(10), 8)], columns=4, every=1)
    assert reading_order(sheet, (128, 128), GAP, 4) == list(range(10))


def test_every_and_the_two_rows() -> None:
    assert list(shown_frames(17, 8, None)) == list(range(0, 17, 2))
    assert list(shown_frames(16, 8, None)) == list(range(16))
    assert list(shown_frames(65, 8, 20)) == [0, 20, 40, 60]
    assert len(shown_frames(321, 8, None)) <= 16
    sheet = contact_sheet([("", coloured(10), 8)], columns=4, every=3)
    assert reading_order(sheet, (128, 128), GAP, 4) == [0, 3, 6, 9]


def test_small_frames_are_enlarged_sharply_and_large_ones_fitted() -> None:
    checker = np.indices((32, 32)).sum(0)[None, :, :, None] % 2 * np.ones(3)
    shown = np.asarray(contact_sheet([("", checker, 8)]))[GAP : GAP + 128, GAP : GAP + 128]
    assert (shown == (checker[0] * 255).repeat(4, 0).repeat(4, 1)).all()
    wide = np.asarray(contact_sheet([("", np.zeros((1, 480, 832, 3), np.uint8), 8)]))
    black = (wide == 0).all(-1)
    assert black[:, GAP + 5].sum() == 74 and black[GAP + 5].sum() == 128


def test_videos_are_stacked_with_a_caption_and_times_below_frames() -> None:
    one = contact_sheet([("plain", coloured(4), 8)])
    two = contact_sheet([("plain", coloured(4), 8), ("FreeNoise", coloured(4), 8)])
    assert two.height == 2 * one.height - GAP and two.width == one.width
    ink = np.asarray(one.convert("L"))
    head = one.height - 128 - 16 - GAP - GAP
    assert ink[:head].min() < 100 and ink[head + 128 : head + 144, GAP:60].min() < 160
    assert contact_sheet([("", coloured(4), 8)]).height == one.height - 20


def test_times_are_seconds() -> None:
    """The same frames at another rate give the same picture but for the times."""
    at = {fps: np.asarray(contact_sheet([("", coloured(3), fps)]), int) for fps in (8, 16)}
    differs = (at[8] != at[16]).any(-1)
    assert not differs[: GAP + 128].any()
    first, second = slice(0, GAP + 128), slice(GAP + 128 + GAP, 2 * (GAP + 128))
    assert not differs[:, first].any() and differs[:, second].any()  # frame 0 is at 0 s at any rate


def test_a_long_caption_is_wrapped_not_cut() -> None:
    short, long, endless = (
        contact_sheet([(text, coloured(2), 8)]) for text in ("a fox", "a fox in snow " * 20, "红" * 200 + "\udc80")
    )
    assert short.width == long.width == endless.width
    assert long.height >= short.height + 40 and endless.height == short.height + 40
    assert (np.asarray(long)[:, -4:] == 255).all()


def test_a_sheet_is_saved_whole(tmp_path: Path) -> None:
    sheet = contact_sheet([("a", coloured(2), 8)])
    path = save_sheet(sheet, tmp_path / "new" / "sheet.png")
    assert (np.asarray(Image.open(path)) == np.asarray(sheet)).all()
    assert [entry.name for entry in path.parent.iterdir()] == ["sheet.png"]
    with pytest.raises(UsageError, match="must end in .png"):
        save_sheet(sheet, tmp_path / "sheet.jpg")
    with pytest.raises(UsageError, match="choose another place"):
        save_sheet(sheet, path / "sheet.png")


@pytest.mark.parametrize(
    ("settings", "message"), [({"columns": 0}, "columns=0"), ({"every": 0}, "every=0"), ({"width": -1}, "width=-1")]
)
def test_impossible_settings(settings: dict, message: str) -> None:
    with pytest.raises(UsageError, match=f"{message} must be at least 1"):
        contact_sheet([("", coloured(1), 8)], **settings)


def test_no_video() -> None:
    with pytest.raises(UsageError, match="at least one video"):
        contact_sheet([])
