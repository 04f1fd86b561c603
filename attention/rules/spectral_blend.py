"""Low frequencies from attention over all frames, high frequencies from attention over a window of them.

Source: FreeLong, arXiv 2407.19918, eq. 5 to 7. The paper blends with three FFTs and a Gaussian low-pass of width ``d``
on centred frequencies in [-1, 1]. The two filters add up to 1 and the Gaussian is separable, so the blend is
``local + G(global - local)`` with a small matrix for each axis (for small ``d``, a blur with a standard deviation of
``1 / (pi d)`` samples). Deliberately different from the source:

- the ends are mirrored; the FFT wraps the last frame into frame 0;
- odd lengths keep their mean (the released code centres the filter half a bin off, which loses 1.8 % of it at 21);
- all layers blend (in the released code those of full resolution are local only, which the paper does not mention);
- the window is cut at the ends of the video, as in the code for VideoCrafter2 (the code for LaVie shifts it inside).
"""

from dataclasses import dataclass, replace
from math import pi, sqrt

import torch
from torch import Tensor

from genkit.attention.calls.call import Attend, Call, Kind, Order, Rule


def blur_matrix(size: int, cutoff: float) -> Tensor:
    """Return a Gaussian low-pass as a symmetric float64 matrix ``[size, size]`` whose rows sum to 1.

    ``cutoff`` is the filter's standard deviation ``d`` in normalised frequency (1 is half a cycle per sample), in
    (0, inf]. The ends are mirrored about the half sample, so constants are preserved at every length.
    """
    number = torch.arange(size, dtype=torch.float64)
    # A filter with mirrored ends only scales these cosines (the orthonormal DCT-II); wave k has k / size of the max
    # frequency.
    waves = torch.cos(pi / size * number[:, None] * (number + 0.5)) * sqrt(2 / size)
    waves[0] /= sqrt(2)
    passed = torch.exp(-0.5 * (number / (size * cutoff)) ** 2)
    return waves.T @ (passed[:, None] * waves)


def low_pass(x: Tensor, cutoff_time: float, cutoff_space: float) -> Tensor:
    """Blur ``[..., frames, rows, cols, D]`` along frames, rows and columns."""
    for axis, cutoff in ((-4, cutoff_time), (-3, cutoff_space), (-2, cutoff_space)):
        matrix = blur_matrix(x.shape[axis], cutoff).to(x.dtype).to(x.device)
        x = torch.movedim(torch.tensordot(matrix, x, dims=([1], [axis])), 0, axis)
    return x


def band(frames: int, radius: int, lead: int = 0) -> Tensor:
    """Return the pairs of frames at most ``radius`` apart, bool ``[frames, frames]``.

    The first ``lead`` frames are images outside the video's time: they read all, and all read them.
    """
    frame = torch.arange(frames)
    image = frame < lead
    return ((frame[:, None] - frame).abs() <= radius) | image[:, None] | image


@dataclass(frozen=True, kw_only=True)
class SpectralBlendRule(Rule):
    """Blend of the wrapped attention with itself restricted to a window."""

    radius: int
    """Half-width of the local window in latent frames."""
    until: float
    """Share of the steps, from the first, that use the global branch; later ones are local only."""
    cutoff_time: float
    cutoff_space: float
    native_frames: int
    """Latent frames up to which nothing is changed."""
    name: str = "freelong"
    order: Order = "branches"
    kinds: frozenset[Kind] = frozenset({"self", "joint", "temporal"})

    def wrap(self, attend: Attend) -> Attend:
        """Return ``attend`` over the window, blended with ``attend`` over all frames before ``until``."""

        def blended(q: Tensor, k: Tensor, v: Tensor, call: Call) -> Tensor:
            frames = call.grid.frames - call.grid.lead
            if frames <= self.native_frames:
                call.run.note(
                    f"{self.name}: {frames} latent frames are no more than the {self.native_frames} of the "
                    "training, so it changes nothing"
                )
                return attend(q, k, v, call)
            local = attend(q, k, v, replace(call, visible=_within(call.visible, self._window(call))))
            if call.step.is_past(self.until):
                return local
            return self._blend(attend(q, k, v, call), local, call)

        return blended

    def _window(self, call: Call) -> Tensor:
        # The same tensor in every call, so that sparse rules can recognise it.
        frames, lead = call.grid.frames, call.grid.lead
        return call.run.memory.table((self.name, frames, lead), lambda: band(frames, self.radius, lead))

    def _blend(self, wide: Tensor, local: Tensor, call: Call) -> Tensor:
        grid, out = call.grid, wide.clone()
        precise = torch.promote_types(wide.dtype, torch.float32)
        near = local[:, :, grid.video].to(precise)
        shaped = _as_volume(wide[:, :, grid.video].to(precise) - near, call)
        video = shaped.narrow(-4, grid.lead, grid.frames - grid.lead)  # images in front are not neighbours in time
        video.copy_(low_pass(video, self.cutoff_time, self.cutoff_space))
        smooth = _from_volume(shaped, call)
        out[:, :, grid.video] = (near + smooth).to(wide.dtype)
        return out


def _within(visible: Tensor | None, window: Tensor) -> Tensor:
    return window if visible is None else visible & window.to(visible.device)


def _as_volume(x: Tensor, call: Call) -> Tensor:
    """``[B, H, video tokens, D]`` to ``[B', H, frames, rows, cols, D]``, space unfolded from the batch."""
    grid = call.grid
    if grid.fold == "none":
        return x.unflatten(2, (grid.frames, grid.rows, grid.cols))
    folded = x.unflatten(0, (-1, grid.rows, grid.cols))  # [B', rows, cols, H, frames, D]
    return folded.permute(0, 3, 4, 1, 2, 5)


def _from_volume(x: Tensor, call: Call) -> Tensor:
    if call.grid.fold == "none":
        return x.flatten(2, 4)
    return x.permute(0, 3, 4, 1, 2, 5).flatten(0, 2)
