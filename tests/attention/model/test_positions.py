"""Temporal positions that restart in each window, against diffusers' own FreeNoise for AnimateDiff."""

import copy
from typing import Any

import families
import pytest
import torch
from torch import Tensor, nn

import genkit
from genkit.attention.model.positions import projected, window_of
from genkit.errors import UsageError
from genkit.plugins.longer.freelong import FreeLong
from genkit.plugins.longer.freenoise import FreeNoise
from genkit.plugins.prompts.timeline import Timeline

FREENOISE = FreeNoise(window=16, stride=4)


@pytest.fixture(scope="module")
def pipe() -> Any:
    """A small random AnimateDiff whose positions end at 32, with temporal attention that matters."""
    made = families.FAMILIES["animatediff"]()
    generator = torch.Generator().manual_seed(0)
    for block in motion_blocks(made):
        for attention in (block.attn1, block.attn2):
            weight = attention.to_out[0].weight
            weight.data = 0.3 * torch.randn(weight.shape, generator=generator)
    return made


def motion_blocks(pipe: Any) -> list[Any]:
    return [
        module
        for name, module in pipe.unet.named_modules()
        if "motion_modules" in name and name.endswith("transformer_blocks.0")
    ]


def first_attention_only(pipe: Any) -> Any:
    """A copy whose motion blocks have one attention."""
    alone = copy.deepcopy(pipe)
    for block in motion_blocks(alone):
        nn.init.zeros_(block.attn2.to_out[0].weight)
        nn.init.zeros_(block.attn2.to_out[0].bias)
    return alone


def latents(pipe: Any, frames: int) -> Tensor:
    """What the pipeline makes of given noise, which no plan of noise touches."""
    noise = torch.randn(1, 4, frames, 8, 8, generator=torch.Generator().manual_seed(3)).to(pipe.unet.dtype)
    made: Tensor = pipe(**families.call_arguments("animatediff", num_frames=frames, latents=noise)).frames
    return made


def ours(pipe: Any, frames: int, plugin: Any = FREENOISE) -> Tensor:
    with genkit.apply(pipe, plugin):
        return latents(pipe, frames)


def theirs(pipe: Any, frames: int) -> Tensor:
    other = copy.deepcopy(pipe)
    other.enable_free_noise(context_length=16, context_stride=4)
    return latents(other, frames)


@pytest.mark.parametrize("frames", [24, 36, 48])
def test_blocks_of_one_attention_are_those_of_diffusers_freenoise(pipe: Any, frames: int) -> None:
    """Inside the 32 positions of the model and beyond them."""
    alone = first_attention_only(pipe)
    out, expected = ours(alone, frames), theirs(alone, frames)
    torch.testing.assert_close(out, expected, atol=3e-6 * float(expected.abs().max()), rtol=0)


def test_blocks_of_two_attentions_differ_by_what_the_second_reads(pipe: Any) -> None:
    """Here it reads the fused states, in diffusers' those of its window: 1.6 % of the range on this model."""
    out, expected = ours(pipe, 40), theirs(pipe, 40)
    share = float((out - expected).abs().max() / (expected.max() - expected.min()))
    assert share == pytest.approx(0.016, abs=0.004)


def test_positions_that_go_on_beyond_a_window_would_be_seen(pipe: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    out = ours(pipe, 24)
    monkeypatch.setattr("genkit.attention.model.applied.window_of", lambda rules: None)
    going_on = ours(pipe, 24)
    assert float((out - going_on).abs().max()) > 1e-3 * float(out.abs().max())


def test_a_video_of_one_window_and_a_pipeline_without_plugins_are_as_before(pipe: Any) -> None:
    plain = latents(pipe, 16)
    before = {name: set(module.__dict__) for name, module in pipe.unet.named_modules()}
    assert torch.equal(ours(pipe, 16), plain)
    ours(pipe, 40)
    assert {name: set(module.__dict__) for name, module in pipe.unet.named_modules()} == before
    assert torch.equal(latents(pipe, 16), plain)
    with pytest.raises(RuntimeError, match="must match the size"):
        latents(pipe, 40)


def test_the_length_is_bounded_by_positions_only_where_they_go_on(pipe: Any) -> None:
    asked = {"prompt": "a red circle", "num_frames": 40, "height": 48, "width": 64, "num_inference_steps": 1}
    for plugins in ((), (FreeLong(),), (Timeline(),)):
        said = pytest.raises(
            UsageError, match="end at 32 frames; the nearest is 32, and freenoise and position-interpolation go"
        )
        with genkit.apply(pipe, *plugins) as handle, said:
            handle.generate(**asked)
    for plugins in ((FreeNoise(),), (FreeNoise(), Timeline())):
        with genkit.apply(pipe, *plugins) as handle:
            assert len(handle.generate(**asked).frames) == 40


def test_a_window_beyond_the_positions_is_refused(pipe: Any) -> None:
    with pytest.raises(UsageError, match="freenoise: window=33 is more than the 32 frames at which the positions"):
        genkit.apply(pipe, FreeNoise(window=33))
    with genkit.apply(pipe, FreeNoise(window=32)) as handle:
        assert handle.session.window == 32


def test_a_copy_and_half_precision_begin_positions_anew_too(pipe: Any) -> None:
    plain = ours(pipe, 36)
    assert torch.equal(ours(copy.deepcopy(pipe), 36), plain)
    half = ours(copy.deepcopy(pipe).to(torch.bfloat16), 36)
    assert half.dtype == torch.bfloat16 and torch.isfinite(half).all()


def test_what_positions_add_is_what_the_projections_make_of_them() -> None:
    """Biases stay with the hidden states: they must not be added twice."""
    layer, table = nn.Module(), nn.Module()
    for name in ("to_q", "to_k", "to_v"):
        setattr(layer, name, nn.Linear(6, 4))
    table.pe = torch.randn(1, 5, 6)
    hidden = torch.randn(3, 5, 6)
    added = projected(layer, table.pe, 5, torch.zeros(1, 2, 5, 2))
    for project, part in zip((layer.to_q, layer.to_k, layer.to_v), added, strict=True):
        whole = project(hidden + table.pe).unflatten(-1, (2, 2)).transpose(1, 2)
        torch.testing.assert_close(project(hidden).unflatten(-1, (2, 2)).transpose(1, 2) + part, whole)
    with pytest.raises(ValueError, match="windows of 6 frames exceed the 5 positions"):
        projected(layer, table.pe, 6, torch.zeros(1, 2, 6, 2))
    layer.norm_q = nn.Identity()
    with pytest.raises(ValueError, match="queries and keys are normalised"):
        projected(layer, table.pe, 5, torch.zeros(1, 2, 5, 2))


def test_the_shortest_window_of_all_rules_decides() -> None:
    (rule,) = FREENOISE.parts(
        genkit.plugins.contract.Target(family="f", title="F", native_frames=16, kinds=frozenset())
    ).rules
    assert (window_of([]), window_of([rule])) == (None, 16)
