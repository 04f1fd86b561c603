"""The form of an entry: a small random pipeline of one class, and the arguments of its smallest useful call."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from diffusers import DiffusionPipeline
from families import FAMILIES, NEGATIVE, PROMPT, VARIANTS, sizes
from family_parts import seeded
from torch import Tensor, nn

Builder = Callable[[], DiffusionPipeline]

TEXTS = {"prompt": PROMPT, "negative_prompt": NEGATIVE}
CLIP = {"num_frames": 17, "height": 48, "width": 64, "num_inference_steps": 2, "output_type": "latent"}
"""Sizes of most calls: 5 x 3 x 4 tokens where the strides are 4 and 8 and a token is 2 x 2 latents."""


@dataclass(frozen=True, kw_only=True)
class SmallPipeline:
    """One pipeline of stock diffusers with random weights: the same at every build, made without a download.

    small = SMALL["WanPipeline"]
    pipe = small.build()
    latents = small.video(pipe, seed=7)
    """

    build: Builder
    """Returns a new pipeline in evaluation mode on the CPU, in float32."""
    call: Mapping[str, Any]
    """Plain arguments of the smallest useful call: 60 video tokens or more, mostly two steps, latents or ``np``."""
    inputs: Mapping[str, Callable[[], Any]] = field(default_factory=dict)
    """Images, videos and conditions by argument, each made by a function at every call."""
    seed: Literal["generator", "seed"] = "generator"
    """Argument that takes the seed: a ``torch.Generator``, or the number itself."""
    output: str = "frames"
    """Field of the answer that has the video."""
    draws_globally: bool = False
    """True where the pipeline draws from torch's global random numbers as well; ``video`` seeds those too."""
    slow: bool = False
    """True where a build and a call take seconds."""
    note: str = ""
    """Anything that a reader of a failing test should know."""

    def arguments(self, seed: int = 7, **changes: Any) -> dict[str, Any]:
        """Return everything that ``pipe(**...)`` needs for one run; ``changes`` replaces or adds arguments.

        The generator is fresh in every answer, so ask again for every run.
        """
        seeding = seed if self.seed == "seed" else torch.Generator("cpu").manual_seed(seed)
        made = {name: make() for name, make in self.inputs.items() if name not in changes}
        return {**self.call, **made, self.seed: seeding, **changes}

    def video(self, pipe: DiffusionPipeline, seed: int = 7, **changes: Any) -> Tensor:
        """Return the video of one run, latents or pixels, as one tensor."""
        with torch.random.fork_rng(devices=[], enabled=self.draws_globally):
            if self.draws_globally:
                torch.manual_seed(seed)
            made = getattr(pipe(**self.arguments(seed, **changes)), self.output)
        if isinstance(made, (list, tuple)):
            made = torch.stack([torch.as_tensor(item) for item in made])
        return torch.as_tensor(made)


@dataclass(frozen=True, kw_only=True)
class SmallModular(SmallPipeline):
    """A pipeline made of blocks: ``output`` is a name in the state that a call answers."""

    def video(self, pipe: Any, seed: int = 7, **changes: Any) -> Tensor:
        """Return the video of one run, latents or pixels, as one tensor."""
        return torch.as_tensor(pipe(**self.arguments(seed, **changes)).get(self.output))


def small(build: Builder) -> Builder:
    """Return a builder whose weights are the same every time and whose gates are open.

    Random weights of a model class often begin with a zero matrix behind the attention, which would make every test
    of attention pass: each parameter of two or more axes that is all zero is drawn again.
    """

    @seeded
    def build_open() -> DiffusionPipeline:
        pipe = build()
        for component in pipe.components.values():
            if isinstance(component, nn.Module):
                open_gates(component.eval())
        return pipe

    return build_open


@torch.no_grad()
def open_gates(model: nn.Module) -> None:
    """Draw the parameters of two or more axes that are all zero."""
    for parameter in model.parameters():
        if parameter.ndim > 1 and not parameter.any():
            parameter.normal_(std=0.1)


def family(name: str, **changes: Any) -> SmallPipeline:
    """Return the entry of a pipeline that ``families`` builds already."""
    call = {**TEXTS, **sizes(name), "output_type": "latent"}
    return SmallPipeline(build={**FAMILIES, **VARIANTS}[name], call=call, **changes)
