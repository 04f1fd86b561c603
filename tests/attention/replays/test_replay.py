"""What is kept of an attention call, and forwards in which tokens stay apart or that end early."""

import families
import torch
from small_pipelines import SMALL

from genkit.attention.replays.calls import mask_kind, moved, rows_of
from genkit.attention.replays.replay import replay
from genkit.recording.small import record_small


def test_tokens_that_stay_apart_move_alone_in_every_layer() -> None:
    first = record_small(families.FAMILIES["wan"]()).first["transformer"]
    changed = first.arguments["hidden_states"].clone()
    changed[:, :, -1] += 1
    for apart, rows in ((True, 12), (False, 60)):
        before, after = replay(first, apart=apart), replay(first, {"hidden_states": changed}, apart=apart)
        last = [number for number, call in enumerate(before.calls) if call.layer.endswith("attn1")][-1]
        assert int(moved(before.calls[last].q, after.calls[last].q).any(0).sum()) == rows


def test_a_forward_ends_after_the_layers_that_were_asked_for() -> None:
    first = record_small(SMALL["HunyuanVideoPipeline"].build()).first["transformer"]
    whole, part = replay(first), replay(first, until={"transformer_blocks.0.attn": 1})
    assert part.calls[-1].layer == "transformer_blocks.0.attn" and len(part.calls) < len(whole.calls)
    assert part.output == () and whole.output
    assert torch.equal(part.calls[-1].q, whole.calls[len(part.calls) - 1].q)
    assert len(replay(first, until={"not.there": 1}).calls) == len(whole.calls)


def test_rows_are_told_apart_and_tiny_differences_are_none() -> None:
    heads = torch.randn(2, 3, 5, 4, generator=torch.Generator().manual_seed(0))
    prints, other = rows_of(heads), heads.clone()
    other[1, 2, 3, 0] += 0.01
    assert moved(prints, rows_of(other)).nonzero().tolist() == [[1, 3]]
    assert not moved(prints, rows_of(heads * (1 + 1e-8))).any()


def test_kinds_of_masks() -> None:
    valid = torch.tensor([True, True, False])
    assert mask_kind(None) == "none"
    assert mask_kind(valid[None, None, None]) == mask_kind(torch.zeros(1, 2, 1, 3)) == "key padding"
    assert mask_kind((valid[:, None] & valid)[None, None]) == "outer"
    assert mask_kind(torch.ones(3, 3, dtype=torch.bool).tril()) == mask_kind(torch.zeros(1, 1, 3, 3)) == "other"
