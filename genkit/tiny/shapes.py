"""Outlines of the shapes: signed distances in units of the thing's radius, negative inside, and masks made of them."""

from collections.abc import Callable
from math import ceil, cos, pi, sin

import torch
from torch import Tensor

SHAPES = ("circle", "square", "triangle", "ring", "cross", "star")
ROUND = ("circle", "ring")
EDGE_PIXELS = 1.5  # width of the anti-aliased edge
EXTENT = 1.2  # maximum distance of a corner from the centre, in radii


def _rays(count: int, tip: float, dent: float) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the signed distance to a star with ``count`` tips, the first of them above.

    The plane is folded into the sector between a tip and the dent beside it, where the outline is one straight piece.
    """
    half = pi / count
    ex, ey = dent * sin(half), dent * cos(half) - tip
    length = ex * ex + ey * ey

    def distance(u: Tensor, v: Tensor) -> Tensor:
        turn = ((torch.atan2(u, -v) + half) % (2 * half) - half).abs()
        r = (u.square() + v.square()).sqrt()
        wx, wy = r * turn.sin(), r * turn.cos() - tip
        along = ((wx * ex + wy * ey) / length).clamp(0, 1)
        away = ((wx - ex * along).square() + (wy - ey * along).square()).sqrt()
        return torch.where(wy * ex < wx * ey, -away, away)

    return distance


def _cross(u: Tensor, v: Tensor) -> Tensor:
    u, v = u.abs(), v.abs()
    return torch.minimum(torch.maximum(u - 1.0, v - 0.34), torch.maximum(v - 1.0, u - 0.34))


DISTANCES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "circle": lambda u, v: (u.square() + v.square()).sqrt() - 0.98,
    "square": lambda u, v: torch.maximum(u.abs(), v.abs()) - 0.84,
    "triangle": _rays(3, 1.2, 0.6),
    "ring": lambda u, v: ((u.square() + v.square()).sqrt() - 0.78).abs() - 0.24,
    "cross": _cross,
    "star": _rays(5, 1.18, 0.5),
}


def coverage(shape: str, x: Tensor, y: Tensor, radius: Tensor, angle: Tensor, side: int) -> Tensor:
    """Return the share of each pixel that a shape covers, in [0, 1]: inputs ``[N]``, result ``[N, side, side]``.

    Only a box around each centre is computed; beyond it the share is 0.
    """
    if not len(x):
        return torch.zeros(0, side, side)
    half = ceil(EXTENT * float(radius.max()) * side + EDGE_PIXELS)
    left, top = ((c * side).round().long().clamp(-half, side + half) - half for c in (x, y))  # [N]
    box = torch.arange(2 * half)
    columns, rows = left[:, None] + box, top[:, None] + box  # [N, box]
    dx, dy = (columns + 0.5) / side - x[:, None], (rows + 0.5) / side - y[:, None]
    c, s, r = angle.cos()[:, None, None], angle.sin()[:, None, None], radius[:, None, None]
    u = (dx[:, None, :] * c + dy[:, :, None] * s) / r
    v = (dy[:, :, None] * c - dx[:, None, :] * s) / r
    share = (0.5 - DISTANCES[shape](u, v) * r * side / EDGE_PIXELS).clamp(0, 1)
    margin = 2 * half
    canvas = torch.zeros(len(x), side + 2 * margin, side + 2 * margin)
    canvas[torch.arange(len(x))[:, None, None], margin + rows[:, :, None], margin + columns[:, None, :]] = share
    return canvas[:, margin:-margin, margin:-margin]
