"""The places of seams among the blocks of a pipeline, found by what each block takes and makes."""

from collections.abc import Iterator, MutableMapping
from typing import Any

from genkit.attention.private import BLOCKS

Place = tuple[MutableMapping[str, Any], str]
"""A mapping that has a block, and the block's name in it."""


def whole_call(pipe: Any) -> Place:
    """Return the place of the block that all others are in: every call of the pipeline is one call of it."""
    return vars(pipe), BLOCKS.name


def drawing(pipe: Any) -> list[Place]:
    """Return the blocks that draw the first latents of a run, one for each workflow.

    A loop that draws noise in each of its rounds has no such block.
    """
    return [place for place in _leaves(BLOCKS.read(pipe)) if _takes_and_makes(place, "generator", "latents")]


def encoding(pipe: Any) -> list[Place]:
    """Return the blocks that encode the prompt, one for each workflow."""
    return [place for place in _leaves(BLOCKS.read(pipe)) if _takes_and_makes(place, "prompt", "prompt_embeds")]


def _leaves(block: Any) -> Iterator[Place]:
    """Yield the blocks without blocks of their own, in order; those inside loops run once a round and are left out."""
    for name, part in block.sub_blocks.items():
        if not part.sub_blocks:
            yield block.sub_blocks, name
        elif not hasattr(part, "loop_step"):
            yield from _leaves(part)


def _takes_and_makes(place: Place, taken: str, made: str) -> bool:
    holder, name = place
    return taken in holder[name].input_names and made in holder[name].intermediate_output_names
