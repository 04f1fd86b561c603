"""Guidance branches and texts: which forward, or which part of its batch, has the prompt."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from genkit.attention.conformance.finding import Finding
from genkit.attention.conformance.ways import wrong_way
from genkit.attention.facts.card import Card
from genkit.attention.model.frames import latents_of
from genkit.attention.model.order.hoist import Place, leaves
from genkit.attention.model.progress import BATCHED, branch_of
from genkit.attention.replays.replay import FirstForward
from genkit.conformance.sampling import first_of
from genkit.recording.recording import Recording

PLACES = {"pairs": (0, 1), "masked pairs": (0, 2)}
"""Places of prompt and negative prompt in the answer of ``encode_prompt``."""


def branches(card: Card, one: Recording, other: Recording) -> Iterator[Finding]:
    """Yield whether the prompt is in the branch that the facts call cond; ``other`` is a run with another prompt."""
    component, first = first_of(card, one)
    turns = [turn for turn in one.turns if turn.component == component]
    per_step = max(Counter(turn.step for turn in turns).values())
    parts = len(latents_of(first.arguments)) // _videos(one, first)
    moved = _moved(first.arguments, other.first[component].arguments)
    if moved is None and per_step > 1 and parts == 1 and _moved_text(one, other):
        moved = torch.zeros(1, dtype=torch.bool)
    found = wrong_way(card.branches, [turn.context for turn in turns], per_step, parts)
    if found is None and moved is not None:
        found = _wrong_branch(card, turns[0].context, parts, moved)
    if found is not None:
        yield Finding(fact="branches", ok=False, found=f"{found}, and the facts say {card.branches!r}")
    else:
        yield Finding(fact="branches", ok=True, found=_right(card, turns[0].context, per_step, parts, moved))


def _wrong_branch(card: Card, context: str | None, parts: int, moved: Tensor) -> str | None:
    """Return what is wrong if another branch than cond changes with the prompt, in the first forward."""
    if parts > 1:
        with_prompt = [BATCHED[number] for number, part in enumerate(moved.tensor_split(parts)) if part.any()]
        return (
            None if "uncond" not in with_prompt else "the prompt is in the part of the batch that is taken for uncond"
        )
    name = branch_of(context) if context is not None else "cond"
    if bool(moved.any()) != (name != "uncond"):
        return (
            f"the first forward of a step{f', named {context},' if context else ''} does not have the prompt of {name}"
        )
    return None


def _right(card: Card, context: str | None, per_step: int, parts: int, moved: Tensor | None) -> str:
    if parts == per_step == 1:
        return "one forward a step, without guidance"
    ways = {
        "halves": f"{' and '.join(BATCHED[:parts])} in one batch",
        "order": f"{per_step} forwards a step, cond first",
        "guider": f"{per_step} forwards a step by a guider, cond first",
        "names": f"{per_step} forwards a step, the first named {context}",
    }
    return ways[card.branches] + ("" if moved is not None else "; no argument has the prompt, so it was not followed")


def _videos(recording: Recording, first: FirstForward) -> int:
    """Return the number of videos in the latents that the pipeline drew."""
    drawn = next((latents for _, latents in leaves(recording.prepared)), None)
    return len(latents_of(first.arguments) if drawn is None else drawn)


def _moved_text(one: Recording, other: Recording) -> bool:
    """Return True if the encoded texts of two runs differ, in the same shapes."""
    mine, theirs = (dict(leaves([*run.encoded])) for run in (one, other))
    same_shapes = all(place in theirs and found.shape == theirs[place].shape for place, found in mine.items())
    return same_shapes and not all(_same(place, mine, theirs) for place in mine)


def _moved(one: dict[str, Any], other: dict[str, Any]) -> Tensor | None:
    """Return which samples of a batch change with the prompt, bool ``[B]``; None if no argument does."""
    mine, theirs, batch = dict(leaves(one)), dict(leaves(other)), len(latents_of(one))
    found = [rows for place in mine if (rows := _changed(mine[place], theirs.get(place))) is not None]
    samples = [rows.view(batch, -1).any(1) for rows in found if len(rows) % batch == 0]
    moved = torch.stack(samples).any(0) if samples else torch.zeros(batch, dtype=torch.bool)
    return moved if moved.any() else None


def _changed(one: Tensor, other: Tensor | None) -> Tensor | None:
    if one.ndim < 2 or other is None or one.shape != other.shape:
        return None
    return (one != other).flatten(1).any(1)


def prompts(card: Card, one: Recording, other: Recording) -> Iterator[Finding]:
    """Yield whether prompt and negative prompt are where the facts say in the answer of ``encode_prompt``."""
    if card.prompts is None or not one.encoded or not other.encoded:
        return
    mine, theirs = (dict(leaves(list(run.encoded[0]))) for run in (one, other))
    changed = {place[0] for place in mine if not _same(place, mine, theirs)}
    prompt, negative = PLACES[card.prompts]
    ok = prompt in changed and negative not in changed and _is_text(negative, prompt, one.encoded[0])
    items = ", ".join(map(str, sorted(changed))) or "none"
    found = f"of {len(one.encoded[0])} items of its answer, with the prompt changes {items}"
    yield Finding(fact="prompts", ok=ok, found=found + ("" if ok else f", and the facts say {card.prompts!r}"))


def _is_text(negative: int, prompt: int, answer: Any) -> bool:
    """Return True if an item is None or has as many axes as the encoded prompt, so that it is not a mask."""
    if negative >= len(answer):
        return False
    return answer[negative] is None or answer[negative].ndim == answer[prompt].ndim


def _same(place: Place, mine: dict[Place, Tensor], theirs: dict[Place, Tensor]) -> bool:
    return place in theirs and mine[place].shape == theirs[place].shape and torch.equal(mine[place], theirs[place])
