"""Position interpolation: training's positions in between, and gone after the block."""

import families
import pytest
import torch

from genkit.benchmarks.tiny.interpolation import interpolated_positions


def test_interpolated_positions_are_those_of_the_training_in_between() -> None:
    transformer = families.wan().transformer
    rope, width = transformer.rope, transformer.rope.t_dim
    before = {name: getattr(rope, name) for name in ("freqs_cos", "freqs_sin")}
    with pytest.raises(KeyboardInterrupt), interpolated_positions(transformer, 4):
        for name, table_before in before.items():
            now = getattr(rope, name)
            assert torch.equal(now[::4, :width], table_before[: len(now[::4]), :width])
            assert torch.equal(now[:, width:], table_before[:, width:])
            assert not torch.equal(now[1, :width], table_before[0, :width])
        raise KeyboardInterrupt
    assert all(getattr(rope, name) is table_before for name, table_before in before.items())
    with interpolated_positions(transformer, 1):
        assert all(torch.equal(getattr(rope, name), table_before) for name, table_before in before.items())
