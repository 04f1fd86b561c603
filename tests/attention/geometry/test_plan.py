"""A plan counts what it keeps, exactly."""

import pytest
import torch

from genkit.attention.geometry.plan import BlockPlan, block_lists, pairs_in_blocks


def seen_tokens(plan: BlockPlan) -> torch.Tensor:
    """The plan token by token, by the plainest means."""
    table = torch.zeros(*plan.keep.shape[:2], plan.queries, plan.keys, dtype=torch.bool)
    for i in range(plan.queries):
        for j in range(plan.keys):
            table[:, :, i, j] = plan.keep[:, :, i // plan.block, j // plan.block]
    return table


def test_density_counts_token_pairs_of_ragged_blocks() -> None:
    plan = BlockPlan(torch.rand(2, 3, 3, 4, generator=torch.Generator().manual_seed(0)) < 0.5, 4, 10, 13)
    assert plan.density == pytest.approx(seen_tokens(plan).double().mean().item())


def test_density_story() -> None:
    """10 tokens in blocks of 4, 4 and 2: the last block against itself is 4 of 100 pairs."""
    keep = torch.zeros(1, 1, 3, 3, dtype=torch.bool)
    keep[..., 2, 2] = True
    assert BlockPlan(keep, 4, 10, 10).density == pytest.approx(0.04)
    assert BlockPlan(~keep, 4, 10, 10).density == pytest.approx(0.96)
    assert not BlockPlan(~keep, 4, 10, 10).keeps_all and BlockPlan(keep | True, 4, 10, 10).keeps_all


def test_lists_hold_the_kept_blocks_in_order() -> None:
    keep = torch.tensor([[False, True, False, True], [False] * 4, [True] * 4])[None, None]
    counts, which = block_lists(keep)
    assert counts.tolist() == [[[2, 0, 4]]] and counts.dtype == which.dtype == torch.int32
    assert which[0, 0, 0, :2].tolist() == [1, 3]
    assert which[0, 0, 2].tolist() == [0, 1, 2, 3]


def test_pairs_in_blocks_counts_visible_frames_text_and_padding() -> None:
    plan = BlockPlan(torch.ones(1, 1, 3, 3, dtype=torch.bool), 4, 11, 10)
    frames_q, frames_k = torch.arange(11) // 3 - 1, torch.arange(10) // 3 - 1
    visible = torch.tensor([[True, False, False], [True, True, False], [False, False, True]])
    valid = torch.rand(2, 10, generator=torch.Generator().manual_seed(1)) < 0.7
    allowed = torch.zeros(2, 11, 10, dtype=torch.bool)
    for i, fi in enumerate(frames_q.tolist()):
        for j, fj in enumerate(frames_k.tolist()):
            allowed[:, i, j] = valid[:, j] & (fi < 0 or fj < 0 or bool(visible[fi, fj]))
    pairs = pairs_in_blocks(plan, frames_q=frames_q, frames_k=frames_k, visible=visible, valid=valid)
    blocks = [[allowed[:, i : i + 4, j : j + 4].sum((1, 2)) for j in (0, 4, 8)] for i in (0, 4, 8)]
    expected = torch.stack([torch.stack(row, -1) for row in blocks], -2)
    assert torch.equal(pairs[:, 0], expected.double())
    assert plan.share(pairs) == pytest.approx(allowed.double().mean().item())


def test_a_table_of_the_wrong_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"10 x 10 tokens in blocks of 4 needs a bool table \[B, H, 3, 3\]"):
        BlockPlan(torch.ones(1, 1, 2, 2, dtype=torch.bool), 4, 10, 10)
    with pytest.raises(ValueError, match="got torch.float32"):
        BlockPlan(torch.ones(1, 1, 3, 3), 4, 10, 10)
