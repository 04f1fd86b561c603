"""The arguments of one pipeline call from the user's request, checked before anything runs."""

from fractions import Fraction
from typing import Any

from genkit.attention.facts.call import answer_of, defaults_of_call, is_modular
from genkit.attention.facts.card import Card
from genkit.attention.facts.volume import configured
from genkit.attention.private import BLOCKS
from genkit.checks.values import quote, text
from genkit.errors import UsageError, nearest
from genkit.schedulers import seeds

TABLE = "rope_max_seq_len"
"""Configuration key for the number of tokens along each axis for which a model stores positions."""


def call_arguments(pipe: Any, card: Card, asked: dict[str, Any]) -> dict[str, Any]:
    """Return the keyword arguments for ``pipe(...)``: ``asked``, already checked, over the card's defaults.

    Raises:
        UsageError: an argument that this pipeline does not accept, an empty prompt.
    """
    accepted = arguments_of(pipe) | ({"num_frames"} if card.length_argument else set())
    for name in asked:
        if name in ("plugin", "plugins") and name not in accepted:
            raise UsageError(
                f"{name}= is not accepted here: plug-ins are applied to the pipeline first, as in "
                "`with genkit.apply(pipe, plugin) as handle: handle.generate(prompt)`"
            )
        if name not in accepted:
            raise UsageError(f"{type(pipe).__name__} has no argument {name!r}; {nearest(name, accepted)}")
    defaults = {name: value for name, value in card.defaults.items() if name in accepted}
    arguments = defaults | asked
    if "prompt_embeds" not in arguments and "prompt" in accepted:
        check_prompt(arguments.get("prompt"))
    check_steps(pipe, arguments)
    _check_cut(card, arguments)
    return arguments


def arguments_of(pipe: Any) -> set[str]:
    """Return the names of the arguments of a pipeline's call."""
    return set(defaults_of_call(pipe))


def default_of(pipe: Any, name: str) -> Any:
    """Return the default of an argument of a pipeline's call; None also if there is no such argument."""
    return defaults_of_call(pipe).get(name)


def check_prompt(prompt: Any) -> None:
    """Raise UsageError unless a prompt has words, in letters that every tokenizer and file can store."""
    if not isinstance(prompt, str) or not prompt.strip():
        raise UsageError(f"the prompt is {quote(prompt)}; say in words what the video shows")
    text("the prompt", prompt)


def text_limit(pipe: Any, arguments: dict[str, Any]) -> int:
    """Return how many tokens of a text a call of the pipeline reads."""
    limit = arguments.get("max_sequence_length") or default_of(pipe, "max_sequence_length")
    return limit or min(int(getattr(_tokenizer(pipe), "model_max_length", 10**9)), 10**9)


def tokens_of(pipe: Any, text: str) -> int:
    """Return the number of tokens of a text."""
    return len(_tokenizer(pipe)(text).input_ids)


def _tokenizer(pipe: Any) -> Any:
    """Tokenizer of the prompt, which Cosmos 3 has under another name."""
    return getattr(pipe, "tokenizer", None) or pipe.text_tokenizer


def check_length_of_text(pipe: Any, texts: list[str], limit: int) -> None:
    """Refuse texts that the pipeline would truncate after ``limit`` tokens."""
    for each in texts:
        count = tokens_of(pipe, each)
        if count > limit:
            raise UsageError(
                f"the prompt has {count} tokens but this model reads {limit}; shorten it, or split it over time with "
                "the timeline plug-in"
            )


def _check_cut(card: Card, arguments: dict[str, Any]) -> None:
    """Refuse another length of the text than that at which a model cuts it from the tokens of an image."""
    limit = arguments.get("max_sequence_length")
    if None not in (limit, card.text_tokens) and limit != card.text_tokens:
        raise UsageError(
            f"max_sequence_length={quote(limit)}: {card.this} reads its image behind the first {card.text_tokens} "
            "tokens, so that it would take text for the image; leave max_sequence_length out"
        )


def check_decodes(pipe: Any) -> None:
    """Raise ``UsageError`` if no block of a modular pipeline decodes its latents."""
    if is_modular(pipe) and answer_of(pipe) not in BLOCKS.read(pipe).intermediate_output_names:
        raise UsageError(
            f"no block of this {type(pipe).__name__} decodes its latents, so there are no frames; insert its block "
            "'decode', or call the pipeline itself"
        )


def check_steps(pipe: Any, arguments: dict[str, Any]) -> None:
    """Refuse more steps than the scheduler has noise levels."""
    steps, levels = arguments.get("num_inference_steps"), pipe.scheduler.config.get("num_train_timesteps")
    if steps is not None and levels is not None and steps > levels:
        raise UsageError(
            f"num_inference_steps={quote(steps)}: the maximum is {levels}, the noise levels of the scheduler"
        )


def check_size(pipe: Any, card: Card, arguments: dict[str, Any]) -> None:
    """Refuse a height or width that the model would round, naming the nearest one."""
    for name, unit in zip(("height", "width"), card.size_steps(pipe), strict=True):
        value = arguments.get(name)
        if value is not None and value % unit:
            near = max(1, round(Fraction(value, unit))) * unit
            raise UsageError(f"{name}={value}: {card.title} makes multiples of {unit}; the nearest is {near}")
        _check_table(pipe, card, name, value, unit)
    _check_largest(pipe, card, arguments)


def _check_table(pipe: Any, card: Card, name: str, value: int | None, unit: int) -> None:
    table = configured(card.model(pipe), TABLE)
    if value is not None and table is not None and value > table * unit:
        raise UsageError(
            f"{name}={value}: the positions of {card.this} end at {table * unit}; the nearest is {table * unit}"
        )


def _check_largest(pipe: Any, card: Card, arguments: dict[str, Any]) -> None:
    if card.largest is None:
        return
    for name, what, limit in zip(("height", "width"), ("rows", "columns"), card.largest(pipe), strict=True):
        value = arguments.get(name)
        if value is not None and value > limit:
            raise UsageError(
                f"{name}={value}: the positions of {card.this} end at {limit} {what} of pixels; the maximum is {limit}"
            )


def draw_seed(seed: Any) -> int:
    """Return the seed as an int, or a random one for None and -1.

    Raises:
        UsageError: it is not a whole number from -1 to 2**64 - 1.
    """
    try:
        return seeds.draw_seed(seed)
    except ValueError as error:
        raise UsageError(str(error)) from None
