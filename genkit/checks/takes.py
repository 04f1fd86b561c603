"""Several videos of one request: which prompt and which seed each has."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from genkit.checks.arguments import draw_seed
from genkit.checks.values import quote, whole
from genkit.errors import UsageError
from genkit.schedulers import seeds

if TYPE_CHECKING:
    import torch

Take = tuple[Any, int]
"""Prompt and seed of one video."""


def takes_of(prompt: Any, seed: Any, generator: Any, number: Any) -> list[Take]:
    """Return the prompt and the seed of each video.

    Args:
        prompt: one prompt, or a list of texts or of lists of events, each of which is a prompt of its own.
        seed: of the first video of each prompt, from which the others count up; None and -1 draw it; or a list with the
            seed of each video.
        generator: one or a list of ``torch.Generator`` instead of seeds, as diffusers takes them; None: there is none.
        number: videos of each prompt.

    Raises:
        UsageError: there are more or fewer seeds than videos, or a generator that no seed describes.
    """
    prompts, each = _prompts(prompt), whole("num_videos_per_prompt", number)
    given = _seeds(seed, generator)
    if not isinstance(given, list):
        first = draw_seed(given)
        return [(one, (first + place) % (seeds.LARGEST + 1)) for one in prompts for place in range(each)]
    if len(prompts) == each == 1:
        prompts = prompts * len(given)
    wanted = [one for one in prompts for _ in range(each)]
    if len(given) != len(wanted):
        raise UsageError(
            f"there are {len(given)} seeds for {len(wanted)} videos; give one for each, or one that the others count "
            "up from"
        )
    return [(one, draw_seed(each)) for one, each in zip(wanted, given, strict=True)]


def _prompts(prompt: Any) -> list[Any]:
    several = isinstance(prompt, Sequence) and not isinstance(prompt, str | bytes)
    if several and prompt and all(isinstance(one, str | list | tuple) for one in prompt):
        return list(prompt)
    return [prompt]


def _seeds(seed: Any, generator: Any) -> Any:
    """Return one seed, or a list of them."""
    if generator is None:
        return list(seed) if isinstance(seed, list | tuple | range) else seed
    if seed is not None:
        raise UsageError(f"seed={quote(seed)} and a generator both say what the noise is; give one of them")
    return [seed_of(one) for one in generator] if isinstance(generator, list | tuple) else [seed_of(generator)]


def seed_of(generator: "torch.Generator") -> int:
    """Return the seed that describes a generator, so that a file can be made again.

    Raises:
        UsageError: it is not on the CPU, or numbers were drawn from it already.
    """
    import torch

    if not isinstance(generator, torch.Generator):
        raise UsageError(f"generator={quote(generator)} must be a torch.Generator; or give seed")
    seed = generator.initial_seed() % (seeds.LARGEST + 1)
    fresh = generator.device.type == "cpu" and torch.equal(generator.get_state(), seeds.generator_of(seed).get_state())
    if not fresh:
        raise UsageError(
            f"the generator on {generator.device} is not as a seed below 2**32 leaves it on the CPU, so no file could "
            "say what its noise was; give seed"
        )
    return seed
