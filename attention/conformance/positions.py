"""The temporal positions of a model, against the table that it makes."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from genkit.attention.calls.run import RunRecord
from genkit.attention.conformance.finding import Finding
from genkit.attention.conformance.moving import Latents
from genkit.attention.model.layers import layers_of
from genkit.attention.model.positions import first_positions
from genkit.attention.positions.adapters import ADAPTERS
from genkit.attention.positions.shift import NotAsDescribedError, Shift
from genkit.attention.replays.calls import Until
from genkit.attention.replays.replay import FirstForward, replay


def positions(first: FirstForward, latents: Latents, until: Until | None) -> Iterator[Finding]:
    """Yield whether the model makes its positions where the facts say, with the frequencies that they say."""
    facts = latents.facts.positions
    if facts.making == "none":
        yield Finding(fact="positions", ok=True, found=f"the model {facts.fixed}")
        return
    asked: list[int] = []

    def own(frames: int, inverse_frequencies: Tensor) -> tuple[Tensor, Tensor]:
        asked.append(frames)
        return torch.arange(frames, dtype=torch.float64), inverse_frequencies

    session = _session(first, latents)
    adapter = ADAPTERS[facts.making](first.component, first.model, facts, Shift(session, own))
    try:
        adapter.install()
        replay(first, apart=True, until=until)
    except (NotAsDescribedError, LookupError) as error:
        yield Finding(fact="positions", ok=latents.others > 0, found=str(error).splitlines()[0])
        return
    except ValueError as error:  # arguments of this call that set positions themselves
        yield Finding(fact="positions", ok=True, found=f"not compared: {str(error).splitlines()[0]}")
        return
    except (TypeError, AttributeError, RuntimeError) as error:
        reason = f"{type(error).__name__}: {str(error).splitlines()[0]}"
        yield Finding(fact="positions", ok=False, found=f"{facts.where!r} does not make a {facts.making} ({reason})")
        return
    finally:
        adapter.remove()
        for passage in session.passages:
            passage.remove()
    if asked:
        yield Finding(fact="positions", ok=True, found=f"{facts.making} {facts.where!r} as described")
    else:
        yield Finding(fact="positions", ok=False, found=f"{facts.where!r} ({facts.making}) made none in a forward")


def _session(first: FirstForward, latents: Latents) -> Any:
    """Return what an adapter needs of a session, for one forward."""
    return SimpleNamespace(
        volume=latents.volume,
        lead=latents.facts.lead(first.model, first.arguments),
        run=RunRecord(),
        layers=layers_of(first.component, first.model, latents.facts),
        passages=[],
        window=None,
        table_of=first_positions,
    )
