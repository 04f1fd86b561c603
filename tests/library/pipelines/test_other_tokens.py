"""Where the video stands among history, keyframes, references and text, by what the small pipelines are given."""

from typing import Any

import pytest
import torch
from small_pipelines import SMALL
from torch import Tensor

import genkit
from genkit.attention.geometry.grid import VideoGrid

PLACES: dict[str, tuple[int, tuple[int, int, int], int]] = {
    "LTXConditionPipeline-places": (24, (5, 3, 4), 0),
    "LTXI2VLongMultiPromptPipeline": (0, (5, 3, 4), 12),
    "LTX2ConditionPipeline": (0, (5, 3, 4), 24),
    "LTX2HDRPipeline": (0, (5, 3, 4), 60),
    "LTX2DFRPipeline": (0, (5, 3, 4), 12),
    "LTX2DFRTemporalRefinePipeline": (0, (9, 3, 4), 24),
    "Cosmos3OmniPipeline": (69, (5, 3, 4), 0),
    "Cosmos3OmniPipeline-sound": (69, (5, 3, 4), 22),
}
"""Tokens before the video, its frames, rows and columns, and tokens behind it, in the first forward."""


def first_call(name: str, pipe: Any, change: Any = None) -> tuple[Tensor, VideoGrid]:
    """The queries and the grid of the first attention call that sees the video; ``change`` alters the latents of the
    first forward."""
    calls: list[tuple[Tensor, VideoGrid]] = []

    def altered(model: Any, args: Any, given: dict[str, Any]) -> Any:
        if "vision_tokens" in given:
            return args, given | {"vision_tokens": [change(one) for one in given["vision_tokens"]]}
        return args, given | {"hidden_states": change(given["hidden_states"])}

    with genkit.apply(pipe) as handle:
        session, hook = handle.session, None
        attend = session.attend

        def seen(layer: Any, backend: Any, q: Tensor, *others: Any) -> Tensor:
            calls.append((q, session._grid(layer.kind, q)))
            return attend(layer, backend, q, *others)

        session.attend = seen
        if change is not None:
            hook = pipe.transformer.register_forward_pre_hook(altered, with_kwargs=True)
        SMALL[name].video(pipe)
        if hook is not None:
            hook.remove()
    return calls[handle.card.main.text_calls]


@pytest.mark.parametrize("name", PLACES)
def test_other_tokens_are_counted_on_their_side(name: str) -> None:
    q, grid = first_call(name, SMALL[name].build())
    assert (grid.before, (grid.frames, grid.rows, grid.cols), grid.after) == PLACES[name]
    assert grid.tokens - grid.keys_only == q.shape[2]


@pytest.mark.parametrize(
    "name",
    ["HunyuanVideoFramepackPipeline", "HunyuanVideo15Pipeline", "ConsisIDPipeline", "Cosmos3OmniPipeline-sound"],
)
def test_the_rows_of_the_last_frame_move_with_its_latents(name: str) -> None:
    pipe = SMALL[name].build()
    axis = 1 if name.startswith("ConsisID") else 2

    def change(latents: Tensor) -> Tensor:
        last = torch.tensor([latents.shape[axis] - 1])
        return latents.index_add(axis, last, torch.ones_like(latents).narrow(axis, 0, 1))

    (plain, grid), (moved, _) = first_call(name, pipe), first_call(name, pipe, change)
    rows = (plain != moved).any(-1).any(1).any(0).nonzero().flatten() + grid.keys_only
    assert rows.tolist() == [*range(grid.video.stop - grid.tokens_per_frame, grid.video.stop)]
