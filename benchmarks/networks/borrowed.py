"""Networks defined in other packages: AMT-S in vbench, MUSIQ in pyiqa; and a linear head.

Only the network's class is taken from these packages, without running their ``__init__``, which would load every other
metric and its dependencies. Loading and evaluation are genkit's own.
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
"""Width of CLIP ViT-L/14's embedding, the input of the aesthetic head."""


def amt(state: State | None) -> nn.Module:
    """Build AMT-S, which interpolates the frame between two. Source: Z. Li et al., arXiv 2304.09790."""
    kind = class_of("vbench", "vbench.third_party.amt.networks.AMT-S", "Model")
    return _load(kind(corr_radius=3, corr_lvls=4, num_flows=3), state)


def musiq(state: State | None) -> nn.Module:
    """Build MUSIQ with one output, as trained on SPAQ. Source: J. Ke et al., arXiv 2108.05997."""
    torchvision_flow()  # pyiqa imports torchvision too, which may need these declarations
    kind = class_of("pyiqa", "pyiqa.archs.musiq_arch", "MUSIQ")
    return _load(kind(pretrained=False, num_class=1), state)


def aesthetic_head(state: State | None) -> nn.Module:
    """Build LAION's linear head on CLIP ViT-L/14, ``[B, C] -> [B, 1]``; a head of any width is accepted."""
    width = EMBEDDING if state is None else state["weight"].shape[1]
    return _load(nn.Linear(width, 1), state)


def class_of(package: str, module: str, name: str) -> Any:
    """Import one class of an installed package without running the package's ``__init__``.

    Raises:
        GenkitError: the package, or a requirement of the module itself, is missing.
    """
    with _without_init(package):
        try:
            return getattr(import_module(module), name)
        except (ImportError, AttributeError) as error:
            raise GenkitError(f"{name} of the installed {package} cannot be loaded: {error}") from error


@contextmanager
def _without_init(package: str) -> Iterator[None]:
    """Import the modules of a package with an empty one in its place; afterwards everything is as before."""
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


def _load(network: nn.Module, state: State | None) -> nn.Module:
    if state is not None:
        network.load_state_dict(state, strict=True)
    return network
