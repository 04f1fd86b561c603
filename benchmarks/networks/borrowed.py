"""Networks that no library carries alone: AMT-S from the package vbench, MUSIQ from pyiqa, and a linear head.

Only the class of the network is taken from these packages, without running their ``__init__``, which would load every
other metric and its dependencies. Loading and evaluation are genkit's own.
"""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from torch import Tensor, nn

from genkit.benchmarks.networks.raft import torchvision_flow
from genkit.errors import GenkitError

State = Mapping[str, Tensor]
EMBEDDING = 768
"""Width of CLIP ViT-L/14's embedding, what the aesthetic head reads."""


def amt(state: State | None) -> nn.Module:
    """AMT-S for the frame between two. Source: Z. Li et al., arXiv 2304.09790."""
    kind = class_of("vbench", "vbench.third_party.amt.networks.AMT-S", "Model")
    return _filled(kind(corr_radius=3, corr_lvls=4, num_flows=3), state)


def musiq(state: State | None) -> nn.Module:
    """MUSIQ with one output, as trained on SPAQ. Source: J. Ke et al., arXiv 2108.05997."""
    torchvision_flow()  # pyiqa imports torchvision too, which may need help
    kind = class_of("pyiqa", "pyiqa.archs.musiq_arch", "MUSIQ")
    return _filled(kind(pretrained=False, num_class=1), state)


def aesthetic_head(state: State | None) -> nn.Module:
    """LAION's linear head on CLIP ViT-L/14, ``[B, C] -> [B, 1]``; takes a head of any width."""
    width = EMBEDDING if state is None else state["weight"].shape[1]
    return _filled(nn.Linear(width, 1), state)


def class_of(package: str, module: str, name: str) -> Any:
    """One class of an installed package, imported without the package's own ``__init__``.

    Raises:
        GenkitError: the package, or something that the module itself needs, is missing.
    """
    with _bare(package):
        try:
            return getattr(import_module(module), name)
        except (ImportError, AttributeError) as error:
            raise GenkitError(f"{name} of the installed {package} cannot be loaded: {error}") from error


@contextmanager
def _bare(package: str) -> Iterator[None]:
    """Let the modules of a package be imported with an empty one in its place; afterwards all is as before."""
    if package in sys.modules:
        yield
        return
    spec = find_spec(package)
    if spec is None or spec.submodule_search_locations is None:
        raise GenkitError(f"the package {package} is not installed")
    empty = ModuleType(package)
    empty.__path__ = list(spec.submodule_search_locations)
    sys.modules[package] = empty
    try:
        yield
    finally:
        for loaded in [loaded for loaded in sys.modules if loaded.partition(".")[0] == package]:
            del sys.modules[loaded]


def _filled(network: nn.Module, state: State | None) -> nn.Module:
    if state is not None:
        network.load_state_dict(state, strict=True)
    return network
