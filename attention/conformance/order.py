"""The order of packed tokens inside a frame, by the positions that the model itself gives them.

Where latents are packed before they reach the model, only its rotary positions know rows from columns. They turn some
channels with the row of a token and others with its column. So if all tokens have the same latents, a linear print of
their queries is a sum of a function of the row and one of the column; counted in another order it is not.
"""

from collections.abc import Iterator
from math import prod

import torch
from torch import Tensor

from genkit.attention.calls.call import Kind
from genkit.attention.conformance.finding import Finding
from genkit.attention.conformance.moving import Latents
from genkit.attention.conformance.places import TOLERANCE
from genkit.attention.replays.replay import FirstForward, replay


def row_order(first: FirstForward, latents: Latents, kinds: dict[str, Kind]) -> Iterator[Finding]:
    """Yield that packed tokens are not ordered row by row, if they are ordered column by column."""
    _, rows, cols = latents.volume
    if latents.facts.frame_axis is not None or rows == cols or latents.facts.positions.absolute:
        return
    layer = next((layer for layer, kind in kinds.items() if kind in ("self", "joint")), None)
    if layer is None:
        return
    prints = _prints_of_equal_tokens(first, latents, layer)
    if not _is_sum(prints, rows, cols) and _is_sum(prints, cols, rows):
        yield Finding(
            fact="volume",
            ok=False,
            found=f"{layer}: positions change with the row after every {cols} tokens by the facts, and after every "
            f"{rows} in the model; rows and columns are swapped",
        )


def _prints_of_equal_tokens(first: FirstForward, latents: Latents, layer: str) -> Tensor:
    """Return the prints of the video's queries ``[frames, tokens of a frame, PRINT]``."""
    changes = latents.replaced(torch.ones_like(latents.tensor))
    if isinstance(timestep := first.arguments.get("timestep"), Tensor):
        changes["timestep"] = torch.full_like(timestep, timestep.max().item())
    calls = replay(first, changes, apart=True, until={layer: 1}).calls
    call = next(call for call in calls if call.layer == layer)
    before = latents.before(call.tokens[0] - prod(latents.volume))
    return call.q[0, before : before + prod(latents.volume)].unflatten(0, (latents.volume[0], -1))


def _is_sum(prints: Tensor, rows: int, cols: int) -> bool:
    """Return True if a print is one function of the row plus one of the column."""
    table = prints.unflatten(1, (rows, cols))
    rest = table - table[:, :1] - table[:, :, :1] + table[:, :1, :1]
    return bool(rest.abs().max() <= TOLERANCE * table.abs().max())
