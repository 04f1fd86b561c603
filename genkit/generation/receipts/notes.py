"""Notes of the receipt on one run: what will be other than the request suggests, and what only the result shows."""

from typing import Any

from genkit.attention.calls.run import RunRecord
from genkit.checks.guidance import idle_negative
from genkit.checks.lengths import default_length
from genkit.checks.options import to_json
from genkit.generation.context import Context
from genkit.generation.sentinels import notes_on
from genkit.generation.start.prompts import note_unknown_words
from genkit.generation.watch import Watch


def note_what_is_known(context: Context, prompt: Any, arguments: dict[str, Any], scale: float | None) -> None:
    """Note before the run where the video will differ from what the request suggests."""
    run, text = context.session.run, arguments.get("prompt")
    if context.text is None and text is not None and "|" in text:
        run.note("the prompt contains '|' but there is no timeline plug-in, so it was read as part of the text")
    if text is not None:
        note_unknown_words(context, prompt)
    if (idle := idle_negative(context.pipe, arguments, scale)) is not None:
        run.note(idle)
    for name in ("callback_on_step_end", "callback"):
        if name in arguments:
            run.note(f"{name}: {to_json(name, arguments[name])} ran after each step, and its code is not in the recipe")


def note_length(context: Context, arguments: dict[str, Any], asked: int | None, made: int | None) -> None:
    """Note before the run how many frames will be made, if that is not the number that is known."""
    number = asked or arguments.get("num_frames") or default_length(context.pipe, context.card)
    if None not in (number, made) and number != made:
        context.session.run.note(f"num_frames={number} makes {made} frames in this call of {context.card.title}")


def note_what_differs(
    pipe: Any, run: RunRecord, watch: Watch, asked: int | None, videos: Any, left: int | None
) -> None:
    """Note after the run what only the result shows.

    ``left``: steps of a run that begins in the middle of the schedule; None runs all of them.
    """
    made = len(videos[0])
    if asked not in (None, made):
        run.note(f"{asked} frames were asked for and the pipeline made {made}")
    if len(videos) > 1:
        run.note(f"the pipeline made {len(videos)} videos, and the first is returned; generate_many makes several")
    if watch.steps < (left or watch.total) and getattr(pipe, "interrupt", True):
        run.note(f"the run was ended after step {watch.steps} of {watch.total}, so the video is unfinished")
    for note in notes_on(videos[0]):
        run.note(note)
