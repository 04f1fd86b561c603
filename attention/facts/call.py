"""What a call of a pipeline takes and answers: by the signature of its class, or by the blocks that it is made of."""

import inspect
from typing import Any

from genkit.attention.private import BLOCKS


def is_modular(pipe: Any) -> bool:
    """Return True for a pipeline made of blocks, whose class says nothing of its inputs."""
    return BLOCKS.is_in(pipe)


def defaults_of_call(pipe: Any) -> dict[str, Any]:
    """Return the arguments of a pipeline's call, each with its default; None also if it has none.

    Args:
        pipe: a pipeline, or the class of one; that of a modular pipeline has default blocks.
    """
    if (blocks := _blocks_of(pipe)) is not None:
        return {given.name: given.default for given in blocks.inputs if given.name is not None}
    parameters = _parameters(pipe)
    return {name: None if default is inspect.Parameter.empty else default for name, default in parameters.items()}


def required_by_call(pipe: Any) -> frozenset[str]:
    """Return the arguments without which the call of a pipeline, or of a class of pipelines, makes nothing."""
    if (blocks := _blocks_of(pipe)) is not None:
        return frozenset(given.name for given in blocks.inputs if given.required)
    return frozenset(name for name, default in _parameters(pipe).items() if default is inspect.Parameter.empty)


def _blocks_of(pipe: Any) -> Any:
    """Return the blocks of a modular pipeline, those of its class by default; None for other pipelines."""
    if is_modular(pipe):
        return BLOCKS.read(pipe)
    name = getattr(pipe, "default_blocks_name", None) if isinstance(pipe, type) else None
    if name is None:
        return None
    import diffusers

    return getattr(diffusers, name)()


def _parameters(pipe: Any) -> dict[str, Any]:
    """Return the default of each argument in a signature, which is ``Parameter.empty`` without one."""
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    call = (pipe if isinstance(pipe, type) else type(pipe)).__call__
    parameters = inspect.signature(call).parameters.values()
    return {one.name: one.default for one in parameters if one.kind in named and one.name != "self"}


def answer_of(pipe: Any) -> str:
    """Return the name of the videos in what a call answers."""
    return "videos" if is_modular(pipe) else "frames"
