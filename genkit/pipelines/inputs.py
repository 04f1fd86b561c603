"""What each pipeline takes besides the prompt: read from its own call, with what its family declares."""

from collections.abc import Collection, Mapping
from typing import Any

from genkit.attention.facts.call import defaults_of_call, required_by_call
from genkit.attention.facts.inputs import Input
from genkit.inputs.words import WORDS, Word

LENGTHS = frozenset({"num_frames", "frames", "video_length"})
"""Arguments that set the number of frames."""


def inputs_of(pipe: Any, declared: Mapping[str, Input], needs: Collection[str]) -> dict[str, Input]:
    """Return the inputs of a pipeline by genkit's words.

    A word is taken if the call has one of its arguments, and needed if that has no default.

    Args:
        pipe: a pipeline, or the class of one.
        declared: what its family declares; an input whose argument the call lacks is ignored.
        needs: arguments that the family is recognised by, so that no call can do without them.
    """
    parameters, required = defaults_of_call(pipe), required_by_call(pipe)
    found: dict[str, Input] = {}
    for name, word in WORDS.items():
        argument = next((argument for argument in word.arguments if argument in parameters), None)
        if argument is not None:
            found[name] = _derived(name, word, argument, parameters, argument in required or argument in needs)
    return found | {name: given for name, given in declared.items() if given.argument in parameters}


def _derived(name: str, word: Word, argument: str, parameters: Mapping[str, Any], needed: bool) -> Input:
    """Return an input as the call alone describes it.

    A video has a frame for each frame of the result if there is no length beside it, or a mask, or if it is a control;
    otherwise it may be shorter. Where it sets the length it is needed. Control images with places are no video.
    """
    if name == "control" and "controlnet_frame_indices" in parameters:
        return Input(argument=argument, form="images")
    sets_length = LENGTHS.isdisjoint(parameters)
    masked = any(argument in parameters for argument in WORDS["mask"].arguments)
    whole = word.form in ("video", "mask") and (sets_length or masked or name == "control")
    return Input(
        argument=argument,
        form=word.form,
        whole=whole,
        stepped=whole,
        required=word.form != "number" and (needed or name == "control" or (sets_length and name == "video")),
        fitted=name != "reference",
    )
