"""Short names of published checkpoints: the family, or the beginning of its name."""

from genkit.errors import UsageError
from genkit.pipelines.known import checkpoints
from genkit.pipelines.pipeline_facts import Published


def published_as(name: str) -> list[Published]:
    """Return the checkpoints that a name may mean: by hub id, by family, or by the beginning of a family's name."""
    known, wanted = checkpoints(), name.casefold()
    for meant in (
        [one for one in known if name in one.hub_ids],
        [one for one in known if one.family == wanted and len(one.hub_ids) == 1],
    ):
        if meant:
            return meant
    return [one for one in known if wanted and one.family.startswith(wanted)]


def hub_id_of(name: str) -> str | None:
    """Return the hub id of a short name; None if no family is called so.

    Raises:
        UsageError: several checkpoints may be meant; the message lists them.
    """
    ids = [hub_id for one in published_as(name) for hub_id in one.hub_ids]
    if len(ids) > 1:
        raise UsageError(f"{name!r} may be {', '.join(ids[:-1])} or {ids[-1]}; give one of them")
    return ids[0] if ids else None
