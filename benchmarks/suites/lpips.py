"""LPIPS: distance of two pictures as a network perceives it, learned from human judgements.

Source: R. Zhang et al., arXiv 1801.03924, heads of version 0.1. Both common trunks are here, since their numbers
differ: Alex in PAB, TeaCache and MagCache, VGG in Sparse VideoGen.
Shape letters: B pictures, C channels, H rows, W columns.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import conv2d, max_pool2d, relu

from genkit.benchmarks.evaluate.metric import Metric, Sample
from genkit.benchmarks.evaluate.pairs import frame_pairs
from genkit.benchmarks.evaluate.stats import FROM_ZERO, Stat
from genkit.benchmarks.measures.preprocessing import RGB
from genkit.benchmarks.networks.lpips_weights import MEMBERS, Net, Weights, read
from genkit.errors import GenkitError

SHIFT = (-0.030, -0.088, -0.188)
SCALE = (0.458, 0.448, 0.450)
"""ImageNet's mean and standard deviation of the colours, for values in [-1, 1]."""
TINY = 1e-10


@dataclass(frozen=True, kw_only=True)
class Trunk:
    """Order and shape of a network's convolutions."""

    strides: tuple[int, ...]
    paddings: tuple[int, ...]
    pool: int
    """Side of the maximum pooling, whose stride is 2."""
    pooled: frozenset[int]
    """Convolutions preceded by pooling."""
    taps: tuple[int, ...]
    """Convolutions whose output, after the ReLU, is compared."""
    min_side: int
    """Shortest side in pixels that leaves a value at the last tap."""


TRUNKS: dict[Net, Trunk] = {
    "alex": Trunk(
        strides=(4, 1, 1, 1, 1),
        paddings=(2, 2, 1, 1, 1),
        pool=3,
        pooled=frozenset({1, 2}),
        taps=(0, 1, 2, 3, 4),
        min_side=31,
    ),
    "vgg": Trunk(
        strides=(1,) * 13,
        paddings=(1,) * 13,
        pool=2,
        pooled=frozenset({2, 4, 7, 10}),
        taps=(1, 3, 6, 9, 12),
        min_side=16,
    ),
}


def taps(image_BCHW: Tensor, trunk: Trunk, weights: Weights) -> Iterator[Tensor]:
    """Return the compared layers of a trunk for pictures in [-1, 1], ``[B, C, H, W]`` each."""
    shift, scale = (torch.tensor(value)[:, None, None] for value in (SHIFT, SCALE))
    x = (image_BCHW - shift) / scale
    for index, (kernel, bias) in enumerate(zip(weights.kernels_OIHW, weights.biases_O, strict=True)):
        if index in trunk.pooled:
            x = max_pool2d(x, trunk.pool, stride=2)
        x = relu(conv2d(x, kernel, bias, trunk.strides[index], trunk.paddings[index]))
        if index in trunk.taps:
            yield x


@torch.no_grad()
def distance(a_HWC: NDArray[Any], b_HWC: NDArray[Any], trunk: Trunk, weights: Weights) -> float:
    """Return the LPIPS of two frames, uint8 or in [0, 1]; 0 for equal ones.

    Raises:
        GenkitError: the frames are too small for the trunk.
    """
    if min(a_HWC.shape[:2]) < trunk.min_side:
        height, width = a_HWC.shape[:2]
        raise GenkitError(
            f"frames of {height}x{width} are too small for LPIPS; it needs {trunk.min_side} pixels a side"
        )
    both = torch.stack([_to_signed(a_HWC), _to_signed(b_HWC)])
    found = 0.0
    for layer, head in zip(taps(both, trunk, weights), weights.heads_C, strict=True):
        unit = layer / (layer.square().sum(1, keepdim=True).sqrt() + TINY)
        found += float(((unit[0] - unit[1]).square() * head[:, None, None]).sum(0).mean())
    return found


def _to_signed(frame_HWC: NDArray[Any]) -> Tensor:
    unit = frame_HWC.astype(np.float32) / (255 if frame_HWC.dtype == np.uint8 else 1)
    return torch.from_numpy(unit).movedim(-1, 0) * 2 - 1


@cache
def _weights(net: Net) -> Weights:
    return read(net)


@dataclass(frozen=True, kw_only=True)
class Lpips(Metric):
    """Learned perceptual distance, frame by frame.

    Raises:
        GenkitError: when measuring, if the weights are not installed or the frames are too small.
    """

    net: Net
    """``alex`` or ``vgg``."""

    better = "lower"
    reduction = FROM_ZERO
    preprocessing = RGB

    @property
    def name(self) -> str:  # type: ignore[override]
        """Return ``similarity.lpips_`` and the trunk."""
        return f"similarity.lpips_{self.net}"

    @property
    def about(self) -> str:  # type: ignore[override]
        """Return the sentence of this trunk."""
        return f"mean over frames of LPIPS 0.1 with the trunk {self.net}; 0 if equal, 1 is far apart"

    def measure(self, sample: Sample) -> Stat:
        """Return the mean over frames."""
        pairs = frame_pairs(sample)
        weights = _weights(self.net)
        return Stat.of_curve([distance(a, b, TRUNKS[self.net], weights) for a, b in pairs])

    def wants(self) -> list[str]:
        """Return the package with the weights, if it is missing."""
        reason = MEMBERS[self.net].missing()
        return [reason] if reason else []

    def identity(self) -> dict[str, Any]:
        """Return every metric's facts and the hash of the weights."""
        return super().identity() | {"weights": MEMBERS[self.net].sha256}
