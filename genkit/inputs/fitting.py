"""Images brought to the size of a video: cropped, stretched or with bars."""

from typing import Any

from genkit.inputs.words import Resize

DONE = {
    "crop": "scaled and cropped to its middle",
    "fit": "stretched",
    "pad": "scaled, with black bars",
}


def fit(image: Any, height: int, width: int, how: Resize) -> Any:
    """Return a PIL image of that size; unchanged if it has it already."""
    from PIL import Image, ImageOps

    size, smooth = (width, height), Image.Resampling.LANCZOS
    if image.size == size:
        return image
    if how == "fit":
        return image.resize(size, smooth)
    if how == "pad":
        return ImageOps.pad(image, size, smooth, color=0)
    return ImageOps.fit(image, size, smooth)


def sentence(name: str, image: Any, height: int, width: int, how: Resize) -> str | None:
    """Return what resizing did to an image, with both sizes; None if it has the size already."""
    if image.size == (width, height):
        return None
    found = f"{image.height}x{image.width}"
    if image.width * height == image.height * width:
        return f"{name} was scaled from {found} to {height}x{width}"
    return f"{name} was {DONE[how]}, from {found} to {height}x{width} (height x width)"


def nearest_size(image: Any, area: int, steps: tuple[int, int]) -> tuple[int, int]:
    """Return the legal height and width with the shape of an image that come nearest to an area in pixels."""
    scale = (area / (image.width * image.height)) ** 0.5
    down, right = steps
    return max(1, round(image.height * scale / down)) * down, max(1, round(image.width * scale / right)) * right
