"""What the training loop asks of a model, whichever it is."""

from abc import abstractmethod
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from torch import nn

from genkit.tiny.autoencoder import PatchAutoencoder
from genkit.tiny.motions import World
from genkit.tiny.training.config import TrainConfig


class Learner(nn.Module):
    """A module with a loss, an evaluation and a form in which it is shipped."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self.world = world

    @abstractmethod
    def blocks(self) -> Iterable[nn.Module]:
        """Return the modules that are worth compiling."""

    @abstractmethod
    def clips(self, vae: PatchAutoencoder, config: TrainConfig) -> Any:
        """Return what to learn from; its ``advance(step)`` is called before each step."""

    @abstractmethod
    def learn(self, clips: Any, config: TrainConfig, step: int, device: str) -> float:
        """Draw what a step learns from, from the number of the step alone; compute gradients and return the loss."""

    @abstractmethod
    def watch(self, vae: PatchAutoencoder, prompts: int) -> dict[str, Any]:
        """Return how good these weights are, in numbers that fit into a line of JSON."""

    @abstractmethod
    def export(self, out: Path, vae: PatchAutoencoder) -> None:
        """Write these weights as they are shipped; they are in float16 afterwards."""
