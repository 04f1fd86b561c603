"""From pixels to measured things: which colours are on which background, and their place, size and angle.

Everything here is classical: a colour is a line in RGB space from the background to the palette's colour, a shape is
the template of ``world.DISTANCES`` that correlates best. Frames are ``[T, 3, S, S]`` with ``S = NATIVE_SIDE``.
"""

from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from math import ceil, exp, log, pi

import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from genkit.tiny.motions import FPS, SPIN_SECONDS
from genkit.tiny.shapes import DISTANCES, EDGE_PIXELS, ROUND, SHAPES
from genkit.tiny.world import BACKGROUNDS, COLORS, NATIVE_SIDE

CONTRAST = 0.14  # a pixel nearer than this to the background (RGB distance) belongs to it
OUTLIER = 0.25  # a pixel farther than this from every colour line is ignored for colours
MIN_PIXELS = 25.0  # median area of a thing; the smallest of the world, a small star, has 77
MIN_CORE = 8.0  # median count of pixels of nearly full colour, which smears and edges do not have
FAINT, FIRM = 0.22, 0.33  # shares of colour: below the first is noise or a ghost, above the second is kept unchanged
MIN_PLAIN = 0.7  # share of the border that must show the background; things may touch the border
MIN_SEEN = 0.6  # share of frames in which a thing must be visible

AREAS = {"circle": 3.02, "square": 2.82, "triangle": 1.87, "ring": 2.35, "cross": 2.26, "star": 1.73}
"""Area of each shape in units of its radius squared."""
PERIODS = {"square": pi / 2, "triangle": 2 * pi / 3, "cross": pi / 2, "star": 2 * pi / 5}
"""Rotation after which a shape looks the same; round shapes have none."""

PATCH, SPAN = 28, 1.75  # shapes are compared on PATCH x PATCH points up to SPAN equivalent radii from the centre
ANGLES = 24  # angles tried within one period
BLUR = 1.8  # standard deviation, in pixels: a sharp template takes a small soft star for a disc
STRETCHES = (0.9, 1.0, 1.1)  # radii tried, relative to the one that the area gives
REST = 0.01  # margin by which a turn must fit better than rest
UPRIGHT = 0.2  # maximum tilt of a thing that does not turn: a blurred cross is not a tilted square


@dataclass(frozen=True)
class Path:
    """Position of one mask in each frame: ``x``, ``y``, ``radius`` in frame sides, ``seen`` 0 or 1; each ``[T]``.

    ``radius`` is that of the disc of equal area.
    """

    x: Tensor
    y: Tensor
    radius: Tensor
    seen: Tensor


@dataclass(frozen=True)
class Figure:
    """One thing as pixels: the palette's name of its colour, a soft mask ``[T, S, S]`` in [0, 1], and its path."""

    color: str
    mask: Tensor
    path: Path


@dataclass(frozen=True)
class Outline:
    """The shape that fits best, its mean correlation (at most 1), and the rotation over a clip.

    ``turn`` is in units of the world's spin (half a revolution); 0 means no visible turn.
    """

    shape: str
    likeness: float
    turn: float


def nearest_name(color: Tensor, palette: dict[str, tuple[float, float, float]]) -> str:
    """Return the palette's name nearest to an RGB colour ``[3]``."""
    return min(palette, key=lambda name: float((color - torch.tensor(palette[name])).square().sum()))


def background_color(frames: Tensor) -> Tensor:
    """Return the median RGB colour ``[3]`` of all frames' borders."""
    return _border(frames).median(dim=0).values


def background_name(frames: Tensor) -> str | None:
    """Return the name nearest to the background's colour; None if too much of the border has another colour."""
    color = background_color(frames)
    plain = (_border(frames) - color).square().sum(1) < OUTLIER**2
    return nearest_name(color, BACKGROUNDS) if plain.float().mean() >= MIN_PLAIN else None


def _border(frames: Tensor) -> Tensor:
    """Return the pixels ``[P, 3]`` of a frame a tenth of the side wide, of all pictures."""
    width = frames.shape[-1] // 10
    inner = torch.zeros(frames.shape[-2:], dtype=torch.bool)
    inner[width:-width, width:-width] = True
    return frames.movedim(1, -1)[:, ~inner].flatten(0, 1)


def _project(pixels: Tensor, background: Tensor, colors: Tensor) -> tuple[Tensor, Tensor]:
    """Return the share of each colour ``[C, P]`` in pixels ``[P, 3]``, and the squared distance ``[C, P]`` left.

    A share may slightly exceed 1, because a colour may be shown stronger than it should be.
    """
    toward, offset = colors - background, pixels - background
    along, length = toward @ offset.T, toward.square().sum(1, keepdim=True)
    share = (along / length).clamp(0, 1.3)
    return share, offset.square().sum(1) - share * (2 * along - share * length)


def _best_pair(pixels: Tensor, background: Tensor) -> list[str]:
    """Return the two palette colours that, mixed with the background, explain the pixels best."""
    names = list(COLORS)
    _, error = _project(pixels, background, torch.tensor([COLORS[name] for name in names]))
    error = error.clamp_max(OUTLIER**2)
    costs = {pair: float(torch.minimum(error[pair[0]], error[pair[1]]).sum()) for pair in combinations(range(8), 2)}
    return [names[i] for i in min(costs, key=lambda pair: costs[pair])]


def color_shares(frames: Tensor) -> Tensor:
    """Return each colour's share of each frame's clear pixels ``[T, 8]``, in the order of ``COLORS``."""
    background, pixels = background_color(frames), frames.movedim(1, -1)
    share, error = _project(pixels.flatten(0, 2), background, torch.tensor(list(COLORS.values())))
    clear = (error <= error.amin(0)) & (share > 0.6) & (error < OUTLIER**2)
    clear &= ((pixels - background).square().sum(-1) > CONTRAST**2).flatten()
    counts = clear.reshape(len(COLORS), len(frames), -1).sum(2).T.float()
    return counts / counts.sum(1, keepdim=True).clamp_min(1)


def figures(frames: Tensor) -> list[Figure]:
    """Return the things in a clip, at most two and of different colours; an empty list if nothing is shown."""
    background = background_color(frames)
    pixels = frames.movedim(1, -1)
    front = (pixels - background).square().sum(-1) > CONTRAST**2
    if float(front.sum()) < MIN_PIXELS * len(frames) * MIN_SEEN:
        return []
    shades = _shades(pixels[front], background)
    if not shades:
        return []
    share, error = _project(pixels.flatten(0, 2), background, torch.stack(list(shades.values())))
    nearer = error <= error.amin(0)
    found = []
    for i, name in enumerate(shades):
        mask = (share[i] * (nearer[i] & (error[i] < OUTLIER**2))).reshape(pixels.shape[:3])
        mask = mask.clamp_max(1) * ((mask - FAINT) / (FIRM - FAINT)).clamp(0, 1)
        path = follow(mask)
        if _is_thing(mask, path):
            found.append(Figure(name, mask, path))
    return found


def _shades(pixels: Tensor, background: Tensor) -> dict[str, Tensor]:
    """Return at most two palette names, each with the RGB shade ``[3]`` of its pure pixels."""
    names = _best_pair(pixels, background)
    share, error = _project(pixels, background, torch.tensor([COLORS[name] for name in names]))
    pure = (error <= error.amin(0)) & (share > 0.6) & (error < OUTLIER**2)
    return {
        names[i]: pixels[pure[i]].median(dim=0).values
        for i in pure.sum(1).argsort(descending=True).tolist()
        if pure[i].sum() >= MIN_PIXELS
    }


def _is_thing(mask: Tensor, path: Path) -> bool:
    areas, cores = pi * (path.radius * mask.shape[-1]).square(), (mask > 0.8).sum((1, 2)).float()
    return bool(path.seen.mean() >= MIN_SEEN and areas.median() >= MIN_PIXELS and cores.median() >= MIN_CORE)


def follow(mask: Tensor) -> Path:
    """Return centre and radius of a mask in each frame, ignoring what is far from its main body."""
    side = mask.shape[-1]
    axis = (torch.arange(side) + 0.5) / side
    weight = mask
    for _ in range(3):
        area = weight.sum((1, 2)).clamp_min(1e-6)
        x = (weight.sum(1) @ axis) / area
        y = (weight.sum(2) @ axis) / area
        radius = (area / pi).sqrt() / side
        far = (axis - x[:, None])[:, None, :].square() + (axis - y[:, None])[:, :, None].square()
        weight = mask * (far < (2.2 * radius + 2 / side)[:, None, None].square())
    return Path(x, y, radius, (area > MIN_PIXELS / 2).float())


@lru_cache(maxsize=32)
def _templates(pixels: float) -> dict[str, Tensor]:
    """Return blurred masks ``[angles, stretches, PATCH^2]`` of each shape with the area of a disc of this radius."""
    axis = torch.linspace(-SPAN, SPAN, PATCH)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    found = {}
    for shape in SHAPES:
        angle = torch.zeros(1) if shape in ROUND else torch.arange(ANGLES) * PERIODS[shape] / ANGLES
        c, s = angle.cos()[:, None, None, None], angle.sin()[:, None, None, None]
        r = (pi / AREAS[shape]) ** 0.5 * torch.tensor(STRETCHES)[:, None, None]
        u, v = (x * c + y * s) / r, (y * c - x * s) / r
        sharp = (0.5 - DISTANCES[shape](u, v) * r * pixels / EDGE_PIXELS).clamp(0, 1)
        found[shape] = _blur(sharp, BLUR / pixels).flatten(2)
    return found


def _blur(images: Tensor, sigma: float) -> Tensor:
    """Blur ``[..., PATCH, PATCH]`` with a Gaussian; ``sigma`` in equivalent radii."""
    axis = torch.linspace(-SPAN, SPAN, PATCH)
    kernel = (-(axis[:, None] - axis).square() / (2 * sigma * sigma)).exp()
    kernel = kernel / kernel.sum(1, keepdim=True)
    return kernel @ images @ kernel.T


def _correlate(patches: Tensor, inside: Tensor, templates: Tensor) -> Tensor:
    """Return the correlation ``[T, K]`` of patches ``[T, P]`` with templates ``[K, P]``, inside the frame only."""
    count = inside.sum(1, keepdim=True).clamp_min(1)
    mean_p, mean_t = (patches * inside).sum(1, keepdim=True) / count, inside @ templates.T / count
    cross = (patches * inside) @ templates.T / count - mean_p * mean_t
    var_p = (patches.square() * inside).sum(1, keepdim=True) / count - mean_p.square()
    var_t = inside @ templates.square().T / count - mean_t.square()
    return cross / (var_p * var_t).clamp_min(1e-8).sqrt()


def outline(figure: Figure) -> Outline:
    """Compare a figure with every shape, still and turning evenly."""
    mask, path = figure.mask, figure.path
    axis = torch.linspace(-SPAN, SPAN, PATCH)
    dy, dx = torch.meshgrid(axis, axis, indexing="ij")
    reach = path.radius[:, None, None]
    points = 2 * torch.stack([path.x[:, None, None] + dx * reach, path.y[:, None, None] + dy * reach], -1) - 1
    patches = grid_sample(mask[:, None], points, align_corners=False).flatten(1)
    inside = (points.abs() <= 1).all(-1).float().flatten(1)
    pixels = float(path.radius[path.seen > 0].median()) * NATIVE_SIDE
    templates = _templates(exp(round(8 * log(pixels)) / 8))
    found = []
    for shape in SHAPES:
        bank = templates[shape]
        likeness = _correlate(patches, inside, bank.flatten(0, 1)).unflatten(1, bank.shape[:2]).amax(2)
        found.append(_turning(shape, likeness, path.seen))
    return max(found, key=lambda seen: seen.likeness)


def _turns(num_frames: int) -> Tensor:
    """Return the turns that are tried, relative to the world's own: none, and half to twice as fast, either way.

    They are so close that the last frame is at most a sixteenth of a revolution from the nearest.
    """
    parts = 4 * ceil((num_frames - 1) / (FPS * SPIN_SECONDS))
    rates = [rate / parts for rate in range(parts // 2, 2 * parts + 1)]
    return torch.tensor([0.0, *rates, *(-rate for rate in rates)])


def _turning(shape: str, likeness: Tensor, seen: Tensor) -> Outline:
    """Choose the even turn through ``likeness[T, angles]`` that fits best; a turn must clearly beat rest."""
    weight = seen / seen.sum()
    if shape in ROUND:
        return Outline(shape, float(weight @ likeness[:, 0]), 0.0)
    time, turns = torch.arange(len(seen)) / (FPS * SPIN_SECONDS), _turns(len(seen))
    steps = (turns[:, None] * time * pi / PERIODS[shape] * ANGLES).round().long()  # [turns, T]
    angles = (steps[:, :, None] + torch.arange(ANGLES)) % ANGLES  # [turns, T, starts]
    fits = likeness.expand(len(turns), -1, -1).gather(2, angles).mul(weight[:, None]).sum(1).amax(1)
    upright = torch.tensor([min(i, ANGLES - i) * PERIODS[shape] / ANGLES <= UPRIGHT for i in range(ANGLES)])
    fits[0] = (weight @ likeness)[upright].max() + REST
    best = int(fits.argmax())
    return Outline(shape, float(fits[best]) - REST * (best == 0), float(turns[best]))
