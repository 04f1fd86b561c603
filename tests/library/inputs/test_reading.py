"""Reading of images, videos and masks: every kind of file and array becomes the same 8-bit RGB, or a sentence."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from small_pipelines.parts import film, picture

import genkit
from genkit.inputs.reading import Media, one_image, read, several_frames
from genkit.inputs.timing import at_rate, legal_length

RGB = np.asarray(picture(64, 48))


def frames_of(value: Any, name: str = "image") -> tuple[list[np.ndarray], list[str]]:
    notes: list[str] = []
    return [np.asarray(frame) for frame in read(name, value, notes.append).frames], notes


FORMS: dict[str, Any] = {
    "PIL": picture(64, 48),
    "uint8": RGB,
    "float": RGB / 255,
    "float32": (RGB / 255).astype(np.float32),
    "uint16": RGB.astype(np.uint16) * 257,
    "int64": RGB.astype(np.int64),
    "torch": torch.from_numpy(RGB.copy()).permute(2, 0, 1),
    "torch float": torch.from_numpy(RGB.copy()).permute(2, 0, 1) / 255,
    "one in a batch": torch.from_numpy(RGB.copy()).permute(2, 0, 1)[None],
    "with opacity": np.concatenate([RGB, np.full((48, 64, 1), 255, np.uint8)], axis=2),
    "a list of one": [RGB],
}


@pytest.mark.parametrize("form", FORMS)
def test_an_image_is_the_same_in_every_form(form: str) -> None:
    (frame,), notes = frames_of(FORMS[form])
    assert np.array_equal(frame, RGB) and notes == []


@pytest.mark.parametrize(
    "form", ["frames first", "channels second", "channels first", "torch", "with a batch", "list", "list of arrays"]
)
def test_a_video_is_the_same_in_every_form(form: str) -> None:
    images = film(5)()
    video = np.stack([np.asarray(frame) for frame in images])
    forms = {
        "frames first": video,
        "channels second": np.moveaxis(video, -1, 1),
        "channels first": np.moveaxis(video, -1, 0)[None],
        "torch": torch.from_numpy(video).permute(0, 3, 1, 2) / 255,
        "with a batch": video[None],
        "list": images,
        "list of arrays": list(video),
    }
    found, notes = frames_of(forms[form], "video")
    assert np.array_equal(np.stack(found), video) and notes == []


def test_greys_of_one_axis_less_are_a_video_of_masks() -> None:
    masks = np.zeros((5, 48, 64), bool)
    masks[:, :, 32:] = True
    found, _ = frames_of(masks, "mask")
    assert len(found) == 5 and np.array_equal(found[2][..., 0], masks[2] * np.uint8(255))
    same, notes = frames_of(masks[None, None] * 255.0, "mask")
    assert np.array_equal(np.stack(same), np.stack(found)) and notes == []


WRONG: dict[str, tuple[Any, str]] = {
    "minus one to one": (RGB / 127.5 - 1, r"numbers from -1 to .*takes \[0, 1\]; give value / 2 \+ 0.5"),
    "floats of 255": (RGB.astype(float), r"numbers from 0 to 255, but floating point is taken in \[0, 1\]"),
    "too large": (RGB.astype(np.int64) * 2, "whole numbers are taken from 0 to 255"),
    "nan": (np.full((48, 64, 3), np.nan), "contains NaN or infinity"),
    "empty": (np.zeros((0, 64, 3), float), "no numbers at all"),
    "latents": (np.zeros((16, 5, 6, 8), np.uint8), r"has shape \[16, 5, 6, 8\]"),
    "one axis": (np.zeros(5, np.uint8), r"has shape \[5\]"),
    "an object": (object(), "must be a path, an array, a PIL image, a Video or a list"),
    "a number": (5, "must be a path"),
    "an empty list": ([], "is an empty list"),
    "an absent file": ("absent.png", "image='absent.png': there is no such file; give another by --image FILE"),
    "a folder": (".", "is not a file"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_an_image_is_refused_in_a_sentence(case: str) -> None:
    value, sentence = WRONG[case]
    with pytest.raises(genkit.UsageError, match=sentence) as caught:
        read("image", value, print)
    assert "\n" not in str(caught.value)


def saved(folder: Path, image: Image.Image, name: str, **how: Any) -> str:
    path = folder / name
    image.save(path, **how)
    return str(path)


def test_colours_of_files(tmp_path: Path) -> None:
    cmyk = saved(tmp_path, picture(64, 48).convert("CMYK"), "cmyk.tiff")
    (frame,), notes = frames_of(cmyk)
    assert notes == ["image: CMYK colours were converted to RGB"]
    assert np.abs(frame.astype(int) - RGB).max() <= 1
    palette = picture(64, 48).quantize(200)
    (frame,), notes = frames_of(saved(tmp_path, palette, "palette.png"))
    assert np.array_equal(frame, np.asarray(palette.convert("RGB"))) and notes == []
    (frame,), notes = frames_of(saved(tmp_path, picture(64, 48).convert("L"), "grey.png"))
    assert np.array_equal(frame[..., 0], frame[..., 2]) and notes == []


def test_transparent_parts_become_white_and_not_the_colour_below(tmp_path: Path) -> None:
    clear = picture(64, 48).convert("RGBA")
    clear.putalpha(Image.fromarray(np.where(np.arange(64) < 32, 0, 255).astype(np.uint8)[None].repeat(48, 0)))
    (frame,), notes = frames_of(saved(tmp_path, clear, "clear.png"))
    assert notes == ["image: transparent parts became white"]
    assert (frame[:, :32] == 255).all() and np.array_equal(frame[:, 32:], RGB[:, 32:])


def test_sixteen_bits_keep_their_brightness(tmp_path: Path) -> None:
    deep = np.linspace(0, 65535, 48 * 64).reshape(48, 64).astype(np.uint16)
    (frame,), notes = frames_of(saved(tmp_path, Image.fromarray(deep), "deep.png"))
    assert "reduced to 8 bits" in notes[0]
    assert np.array_equal(frame[..., 0], np.rint(deep / 257).astype(np.uint8))


def test_a_turned_photograph_stands_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn clockwise by a quarter
    (frame,), notes = frames_of(saved(tmp_path, picture(64, 48), "phone.png", exif=exif))
    assert frame.shape == (64, 48, 3) and notes == ["image: the image was turned as its EXIF data says"]
    assert np.array_equal(frame, np.rot90(RGB, -1))


@pytest.mark.parametrize("kind", ["gif", "webp", "png"])
def test_an_animation_is_a_video_and_not_an_image(tmp_path: Path, kind: str) -> None:
    first, *others = film(5)()
    path = saved(tmp_path, first, f"cat.{kind}", save_all=True, append_images=others, duration=100)
    found = read("video", path, print)
    assert len(several_frames("video", found).frames) == 5 and found.fps == 10
    with pytest.raises(genkit.UsageError, match="has 5 frames and one image is needed; save one of its frames"):
        one_image("image", found)


def test_a_video_file_is_read_with_its_rate_and_is_no_image(tmp_path: Path) -> None:
    video = np.stack([np.asarray(frame) for frame in film(5)()])
    path = genkit.Video(video, 8.0).save(tmp_path / "clip.mp4", enlarge=1)
    found = read("video", str(path), print)
    assert len(found.frames) == 5 and found.fps == 8 and found.frames[0].size == (64, 48)
    with pytest.raises(genkit.UsageError, match="has 5 frames and one image is needed"):
        one_image("image", found)


def test_an_image_is_no_video(tmp_path: Path) -> None:
    with pytest.raises(genkit.UsageError, match="video is a video, but one image was given"):
        several_frames("video", read("video", picture(64, 48), print))


def test_a_damaged_image_and_a_text_are_named(tmp_path: Path) -> None:
    whole = Path(saved(tmp_path, picture(64, 48), "whole.png")).read_bytes()
    (tmp_path / "half.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(genkit.UsageError, match=r"half.png' is a damaged image"):
        read("image", str(tmp_path / "half.png"), print)
    with pytest.raises(genkit.UsageError, match=r"text.png' cannot be read as an image or a video"):
        read("image", str(tmp_path / "text.png"), print)


def test_several_images_are_not_one() -> None:
    with pytest.raises(genkit.UsageError, match="image is one image, but 2 were given"):
        one_image("image", Media(film(2)(), None, {}, False))


def test_motion_keeps_its_speed_at_another_rate() -> None:
    frames = list(range(30))
    assert at_rate(frames, 30, 30) is frames and at_rate(frames, 29.97, 30) is frames
    assert at_rate(frames, 30, 15) == list(range(1, 30, 2))
    assert at_rate(list(range(4)), 8, 16) == [0, 0, 1, 1, 2, 2, 3, 3]
    for wanted in (7, 8, 12, 16, 24, 60):
        found = at_rate(frames, 30, wanted)
        assert len(found) == wanted and found == sorted(found)
        assert all(
            abs((frame + 0.5) / 30 - (place + 0.5) / wanted) <= 0.5 / 30 + 1e-9 for place, frame in enumerate(found)
        )


def test_legal_lengths() -> None:
    assert [legal_length(frames, 4) for frames in (1, 4, 5, 8, 9, 18)] == [1, 1, 5, 5, 9, 17]
