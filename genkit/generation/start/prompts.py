"""The prompt of a run: converted for the pipeline, checked against the video and the text encoder."""

from collections.abc import Sequence
from typing import Any

from genkit.attention.calls.events import Events
from genkit.attention.geometry.grid import VideoGrid
from genkit.attention.model.session import Session
from genkit.checks.arguments import arguments_of, check_length_of_text, check_prompt, text_limit, tokens_of
from genkit.checks.lengths import default_length
from genkit.checks.values import quote
from genkit.errors import UsageError
from genkit.generation.context import Context
from genkit.plugins.contract import TextPlan


def read_events(context: Context, prompt: Any, asked: dict[str, Any]) -> Events | None:
    """Return the events of a prompt if a plug-in splits it; None takes it as one text."""
    if context.text is None or "prompt_embeds" in asked:
        return None
    if isinstance(prompt, str | bytes) or not isinstance(prompt, Sequence):
        check_prompt(prompt)
    return context.text.read(prompt)


def takes_text(pipe: Any) -> bool:
    """Return True if a pipeline's call takes a prompt; Stable Video Diffusion follows an image alone."""
    return "prompt" in arguments_of(pipe)


def events_of(session: Session, plan: TextPlan, prompt: Any) -> Events | None:
    """Begin the events of a call of the pipeline and return them, where it encodes its prompt; None: one text."""
    run = session.run
    run.came[plan.name, "text"] += 1
    known, run.events = run.events, None
    if not isinstance(prompt, str):
        run.note(f"{plan.name}: only a single prompt can contain events; this call was left unchanged")
        return None
    run.events = plan.read(prompt) if known is None or known.prompt != prompt else known
    return run.events


def as_argument(context: Context, prompt: Any, asked: dict[str, Any], events: Events | None) -> dict[str, Any]:
    """Return the prompt as an argument of the call; nothing with ``prompt_embeds``."""
    if not takes_text(context.pipe):
        if prompt not in (None, ""):
            raise UsageError(
                f"the prompt {quote(prompt)}: {type(context.pipe).__name__} takes no prompt, its video follows the "
                "image alone; leave it out"
            )
        return {}
    if "prompt_embeds" not in asked:
        return {"prompt": _prompt_text(prompt, events)}
    if prompt is not None:
        raise UsageError(
            f"the prompt {quote(prompt)} and prompt_embeds both say what the video shows; give None as the prompt"
        )
    if context.text is not None:
        raise UsageError(f"{context.text.name} needs the prompt as a text, not as prompt_embeds; leave one out")
    return {}


def _prompt_text(prompt: Any, events: Events | None) -> str:
    """Return the prompt as text; events become ``"a | b"``, and the text seam keeps their times."""
    if isinstance(prompt, str | bytes) or not isinstance(prompt, Sequence):
        check_prompt(prompt)
        return str(prompt)
    if events is None:
        raise UsageError("the prompt is a list of events, but there is no timeline plug-in; add Timeline() to apply()")
    check_prompt(events.prompt)
    return events.prompt


def check_texts(context: Context, arguments: dict[str, Any], fps: float, length: int | None = None) -> None:
    """Refuse events that do not fit the video, and texts that the encoder would truncate, before anything runs.

    ``length``: pixel frames that a given video sets; None leaves them to the arguments.
    """
    pipe, texts = context.pipe, [arguments["prompt"]] if "prompt" in arguments else []
    if not takes_text(pipe) or getattr(pipe, "tokenizer", None) is None:
        return  # Cosmos 3 reads its text among the tokens of the video, by a tokenizer of another name
    if (events := context.session.run.events) is not None:
        card = context.card
        frames = length or arguments.get("num_frames") or default_length(pipe, card)
        assert frames is not None, "a pipeline that divides its prompt over time has a length"
        grid = VideoGrid(frames=card.token_frames(pipe, frames), rows=1, cols=1, stride=card.stride(pipe), fps=fps)
        events.spans(grid)
        texts = list(events.texts)
    limit = text_limit(pipe, arguments)
    check_length_of_text(pipe, texts, limit)
    count = tokens_of(pipe, arguments.get("negative_prompt") or "")
    if count > limit:
        context.session.run.note(f"the negative prompt has {count} tokens of which this model reads {limit}")


def note_unknown_words(context: Context, prompt: Any) -> None:
    """Note the words that are not in the small vocabulary of the embedded model."""
    if context.card.family != "tiny":
        return
    tokenizer = context.pipe.tokenizer
    events = context.session.run.events
    texts = [prompt] if events is None else events.texts
    words = [
        word for text in texts for word in tokenizer.backend_tokenizer.pre_tokenizer.pre_tokenize_str(text.lower())
    ]
    unknown = [word for word, _ in words if tokenizer.convert_tokens_to_ids(word) == tokenizer.unk_token_id]
    if unknown:
        said = ", ".join(repr(word) for word in dict.fromkeys(unknown))
        context.session.run.note(f"the embedded model does not know {said}; `genkit models tiny` lists its words")


def prompt_in_json(prompt: Any) -> Any:
    """Return the prompt in JSON values; empty if there were only embeddings."""
    return (prompt or "") if prompt is None or isinstance(prompt, str) else [_as_mapping(event) for event in prompt]


def _as_mapping(event: Any) -> dict[str, Any]:
    from genkit.schedulers.timeline import parse_events

    found = parse_events([event])[0]
    times = {"start": found.start, "end": found.end}
    return {"prompt": found.prompt} | {name: time for name, time in times.items() if time is not None}
