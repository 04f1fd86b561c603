"""The way in which guidance branches come: by names, in one batch, or one after the other."""

from collections.abc import Collection

from genkit.attention.facts.card import Branches


def wrong_way(stated: Branches, names: Collection[str | None], per_step: int, parts: int) -> str | None:
    """Return what is wrong about the forwards of one step, as a part of a sentence; None: nothing.

    Args:
        stated: what the facts say.
        names: of the ``cache_context`` of each forward, None outside of one.
        per_step: forwards of one model in a step.
        parts: times that the batch of a forward has the videos of the run.
    """
    if parts > 1 and stated != "halves":
        return f"each forward has {parts} branches in its batch"
    if parts == 1 and per_step > 1 and stated == "halves":
        return f"each step has {per_step} forwards of one branch"
    if stated == "names" and None in names and per_step > 1:
        return f"{per_step} forwards of a step have no name"
    if stated == "order" and set(names) != {None} and per_step > 1:
        return f"forwards are named {', '.join(sorted(map(str, set(names))))}"
    return None
