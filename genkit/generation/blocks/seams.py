"""The seams of a modular pipeline: where its blocks are called, where one draws noise, where one encodes the prompt."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from genkit.errors import UsageError
from genkit.generation.asked import Asked, Installed
from genkit.generation.blocks.passage import BlockPassage, Run, Through
from genkit.generation.blocks.places import Place, drawing, encoding, whole_call
from genkit.generation.context import Context
from genkit.generation.start.noise import begin_part, noise_for
from genkit.generation.start.prompts import events_of
from genkit.plugins.contract import TextPlan

ENCODED = ("prompt_", "negative_prompt_")
"""Beginnings of the names of encoded texts and their masks."""


class Passages:
    """Passages through several blocks, one for each workflow of a pipeline."""

    def __init__(self, pipe: Any, places: Sequence[Place], through: Through) -> None:
        self.passages = [BlockPassage(pipe, *place, through) for place in places]

    def remove(self) -> None:
        """Put all blocks back."""
        while self.passages:
            self.passages.pop().remove()


def call_seam(context: Context, asked: Asked) -> Installed:
    """Begin a run where the pipeline calls its blocks, and end it there if nothing was raised."""

    def called(run: Run, state: Any) -> Any:
        asked.begin(context.session)
        asked.owner.begin_call()
        if context.cache is not None:
            context.cache.reset()
        answer = run()
        asked.end(context.session)
        asked.owner.end_call()
        return answer

    return Passages(context.pipe, [whole_call(context.pipe)], called)


def noise_seam(context: Context) -> Installed:
    """Apply the noise plan where a block draws the latents.

    Raises:
        UsageError: there is a plan, and no block draws them before the loop.
    """
    places = drawing(context.pipe)
    if context.noise is not None and not places:
        raise UsageError(
            f"{context.noise.name} changes the first latents, and no block of this {type(context.pipe).__name__} draws "
            f"them before its loop begins; leave {context.noise.name} out"
        )

    def drawn(run: Run, state: Any) -> Any:
        begin_part(context)
        arguments = dict(state.values)
        answer = run()
        arguments["num_frames"] = state.get("num_frames")
        state.set("latents", noise_for(context, state.get("latents"), arguments))
        return answer

    return Passages(context.pipe, places, drawn)


def text_seam(context: Context, plan: TextPlan) -> Installed:
    """Encode the text of each event separately and join the results along the token axis.

    The negative text, as long as the others, is in it once for each event, which changes no attention to it.

    Raises:
        UsageError: no block encodes the prompt, or the pipeline makes the video in parts.
    """
    places = encoding(context.pipe)
    if not places or not drawing(context.pipe):
        raise UsageError(
            f"{plan.name} joins the encoded texts of events for one video, and this {type(context.pipe).__name__} "
            f"encodes none, or makes the video in parts; leave {plan.name} out"
        )

    def encoded(run: Run, state: Any) -> Any:
        prompt = state.get("prompt")
        events = events_of(context.session, plan, prompt)
        if events is None:
            return run()
        results, answer = [], None
        for text in events.texts:
            state.set("prompt", text)
            answer = run()
            results.append({name: value for name, value in state.values.items() if name.startswith(ENCODED)})
        for name in results[0]:
            parts = [result[name] for result in results]
            if isinstance(parts[0], Tensor) and parts[0].ndim > 1:
                state.set(name, torch.cat(parts, dim=1))
        state.set("prompt", prompt)
        return answer

    return Passages(context.pipe, places, encoded)
