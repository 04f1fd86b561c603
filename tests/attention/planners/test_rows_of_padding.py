"""Padding that a mask hides as query and as key: sparse methods leave it out, and any other mask is refused."""

import pytest
import torch
from test_planners import call_of, dense, draw, sparse
from torch import Tensor

from genkit.attention.calls.padding import rows_and_columns
from genkit.attention.geometry.grid import VideoGrid
from genkit.plugins.sparse.radial import Radial

GRID = VideoGrid(frames=5, rows=3, cols=4, after=40)
ALL = Radial(density=1.0, block=16)


def outer(*valid: int) -> Tensor:
    """The mask of one video after the other, each with its first tokens valid."""
    rows = torch.arange(GRID.tokens) < torch.tensor(valid)[:, None]
    return rows[:, None, :, None] & rows[:, None, None]


def test_a_mask_of_rows_and_columns_is_known_by_all_its_places() -> None:
    mask = outer(70, 90)
    assert rows_and_columns(mask, GRID.tokens).sum(1).tolist() == [70, 90]  # type: ignore[union-attr]
    for row, col in ((0, 99), (99, 0), (3, 5)):
        changed = mask.clone()
        changed[1, 0, row, col] ^= True
        assert rows_and_columns(changed, GRID.tokens) is None
    assert rows_and_columns(mask.float(), GRID.tokens) is None
    assert rows_and_columns(mask[:, :, :1], GRID.tokens) is None


@pytest.mark.parametrize("valid", [(70,), (60,), (100,), (66, 83)])
def test_the_density_is_over_the_tokens_that_are_valid_and_the_output_dense(valid: tuple[int, ...]) -> None:
    q, k, v = draw(GRID, batch=len(valid))
    call = call_of(GRID, mask=outer(*valid))
    k[:, :, max(valid) :] = v[:, :, max(valid) :] = float("nan")
    out = sparse(ALL.planner()).wrap(dense)(q, k, v, call)
    k[:, :, max(valid) :] = v[:, :, max(valid) :] = 0
    for number, tokens in enumerate(valid):
        right = dense(q[number, None], k[number, None], v[number, None], call_of(GRID, mask=outer(tokens)))
        assert torch.allclose(out[number, :, :tokens], right[0, :, :tokens], atol=1e-5)
    assert not out[:, :, max(valid) :].any()
    assert not call.run.refusals and float(call.run.densities["radial"][0]) == 1


def test_a_mask_that_hides_more_than_padding_is_refused() -> None:
    mask = outer(90)
    mask[0, 0, 2, 7] = False
    call = call_of(GRID, mask=mask)
    q, k, v = draw(GRID)
    out = sparse(ALL.planner()).wrap(dense)(q, k, v, call)
    assert torch.equal(out, dense(q, k, v, call))
    ((_, reason),) = call.run.refusals
    assert reason.endswith("is not a key padding mask")
