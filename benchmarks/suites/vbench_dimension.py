"""The common part of all dimensions of VBench: weights, mode, and running a network."""

from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import torch
from torch import nn

from genkit.benchmarks.evaluate.metric import Metric, Sample
from genkit.benchmarks.evaluate.stats import Stat
from genkit.benchmarks.networks.weight_files import Weights, device
from genkit.benchmarks.suites.vbench_formulas import Mode
from genkit.benchmarks.suites.vbench_networks import BACKBONES
from genkit.record.versions import version_of


@dataclass(frozen=True, kw_only=True)
class Dimension(Metric):
    """One dimension with the weights found for it."""

    mode: Mode
    """Mode in which its measurements are read."""
    weights: tuple[Weights | None, ...] = field(repr=False)
    """Weights of each backbone, in their order; None where there are none."""

    backbones: ClassVar[tuple[str, ...]] = ()
    """Keys of its networks."""
    libraries: ClassVar[tuple[str, ...]] = ()
    """Distributions that contain their code; their versions are part of every row's key."""
    effect: ClassVar[dict[Mode, str]] = {}
    """Effect of each mode, as a sentence for users."""
    better: ClassVar[Literal["higher", "neither"]] = "higher"

    def identity(self) -> dict[str, Any]:
        """Return every metric's facts and the hashes of the weights; the mode is left out, as it only reads."""
        hashes = {key: found and found.identity for key, found in zip(self.backbones, self.weights, strict=True)}
        about = {"metric": self.name, "version": self.version, "preprocessing": self.preprocessing, "settings": {}}
        where = {"device": device().type} if self.backbones else {}
        return about | {"packages": {name: version_of(name) for name in self.libraries}, "weights": hashes} | where

    def wants(self) -> list[str]:
        """Return missing packages and weight files, as sentences."""
        wanted = []
        for key, found in zip(self.backbones, self.weights, strict=True):
            wanted += BACKBONES[key].missing_packages() + ([] if found else [BACKBONES[key].locate()])
        return list(dict.fromkeys(wanted))

    @property
    def random_weights(self) -> bool:  # type: ignore[override]
        """True if any of its weights are random."""
        return any(found.random for found in self.weights if found)

    @property
    def mode_effect(self) -> str:  # type: ignore[override]
        """Effect of the mode; empty if both modes give the same numbers."""
        return self.effect.get(self.mode, "")

    def prepare(self) -> None:
        """Load the networks; they are cached for all dimensions and videos."""
        super().prepare()
        for found in self.weights:
            if found:
                found.network()

    def measure(self, sample: Sample) -> Stat:
        """Measure one video, for both modes.

        Raises:
            GenkitError: weights or packages are missing, or the video is too short or too small.
        """
        self.prepare()
        networks = [found.network() for found in self.weights if found]
        with _deterministic():
            return self.look(sample, *networks)

    @abstractmethod
    def look(self, sample: Sample, *networks: nn.Module) -> Stat:
        """Measure with the networks of :attr:`backbones`."""


@contextmanager
def _deterministic() -> Iterator[None]:
    """Turn off gradients, and on a GPU reduced precision and nondeterministic algorithms."""
    flags = torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)
    with torch.inference_mode(), flags:
        yield
