"""Noise levels of single frames: a model that has no reason against them takes a timestep for each token."""

from collections.abc import Iterator
from math import prod

from torch import Tensor

from genkit.attention.calls.call import Kind
from genkit.attention.conformance.finding import Finding
from genkit.attention.conformance.moving import Latents
from genkit.attention.conformance.places import TOLERANCE
from genkit.attention.replays.calls import Until, moved
from genkit.attention.replays.replay import FirstForward, Replayed, replay


def levels(
    first: FirstForward, latents: Latents, kinds: dict[str, Kind], plain: Replayed, until: Until | None
) -> Iterator[Finding]:
    """Yield whether the timestep may be repeated for each token, and then changes nothing."""
    reason, timestep = latents.facts.one_level, first.arguments.get("timestep")
    if reason is not None:
        yield Finding(fact="one_level", ok=True, found=f"one noise level for all frames: {reason}")
        return
    if not isinstance(timestep, Tensor) or timestep.ndim != 1:
        return  # the pipeline itself gives each frame or token its own
    of_tokens = timestep[:, None].expand(-1, prod(latents.volume) + latents.others)
    try:
        other = replay(first, {"timestep": of_tokens}, apart=True, until=until)
    except Exception as error:
        yield _refused(f"it fails ({type(error).__name__}: {(str(error) or '-').splitlines()[0]})")
        return
    pairs = zip(plain.calls, other.calls, strict=False)
    same = all(not moved(a.q, b.q, TOLERANCE).any() for a, b in pairs if a.layer in kinds)
    if plain.same_calls(other) and same:
        yield Finding(fact="one_level", ok=True, found="each token may have its own timestep")
    else:
        yield _refused("the queries of its attention change")


def _refused(what: str) -> Finding:
    return Finding(
        fact="one_level",
        ok=False,
        found=f"given its timestep once for each token, {what}, so all frames share one noise level; give the reason",
    )
