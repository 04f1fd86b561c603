"""Query, key and value projections in one matrix, before and inside ``apply``, and taken apart again."""

from typing import Any

import pytest
import torch
from workflows import FURTHER, PLUGINS, applied, build, check_change, expected, model, video

FUSING = ["wan", "ltx"]
"""Of the three; diffusers fuses nothing in HunyuanVideo, whose layers are of an older class."""


def fuse(pipe: Any) -> None:
    """Fuse the projections of the model, which must have some to fuse."""
    model(pipe).fuse_qkv_projections()
    assert is_fused(pipe)


def is_fused(pipe: Any) -> bool:
    """True if an attention layer of the model has fused projections."""
    return any(getattr(module, "fused_projections", False) for module in model(pipe).modules())


@pytest.mark.parametrize("plugins", PLUGINS)
@pytest.mark.parametrize("name", FUSING)
def test_fused_before_is_fused_inside(name: str, plugins: str) -> None:
    made = check_change(name, plugins, fuse)
    torch.testing.assert_close(made, expected(name, plugins), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", [*FUSING, *FURTHER])
def test_taken_apart_inside_is_as_before(name: str) -> None:
    pipe = build(name)
    fuse(pipe)
    with applied(pipe, "nothing") as handle:
        video(name, pipe)
        model(pipe).unfuse_qkv_projections()
        assert torch.equal(video(name, pipe), expected(name, "nothing"))
        assert len(handle.session.run.routed) == len(handle.session.layers)
    assert torch.equal(video(name, pipe), expected(name, "nothing"))


def test_hunyuan_stays_as_it_is() -> None:
    made = check_change("hunyuan", "sparse", lambda pipe: model(pipe).fuse_qkv_projections())
    assert torch.equal(made, expected("hunyuan", "sparse"))
