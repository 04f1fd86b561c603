"""The sparse plug-ins inside stock pipelines: dense where all is kept, and the same video whatever went on before."""

from functools import cache
from itertools import product
from typing import Any
from unittest import mock

import families
import pytest
import torch
from sparse_settings import DENSE, SPARSE, made, short_native
from torch import Tensor

import genkit

NAMES = sorted(SPARSE)
SMALL = {"num_frames": 13, "height": 64, "width": 48}
"""A clip of another length and shape than the usual one."""


@pytest.fixture(autouse=True)
def long_clips() -> Any:
    """Every clip is longer than what the model is said to be trained on."""
    with mock.patch("genkit.generation.context.card_of", short_native):
        yield


def latents(pipe: Any, family: str = "wan", handle: Any = None, **changes: Any) -> Tensor:
    """What the pipeline makes; the caller's random numbers must not be touched."""
    before = torch.get_rng_state()
    if handle is not None:
        handle.begin_run(fps=16)
    found: Tensor = pipe(**families.call_arguments(family, **changes)).frames
    assert torch.equal(torch.get_rng_state(), before)
    return found


@cache
def plain(family: str) -> Tensor:
    """Without plug-ins."""
    return latents(families.FAMILIES[family](), family)


@cache
def fresh(name: str, **changes: Any) -> Tensor:
    """By a pipeline that never made anything else."""
    pipe = families.wan()
    with genkit.apply(pipe, made(SPARSE, name)) as handle:
        found = latents(pipe, handle=handle, **changes)
        assert float(min(handle.session.run.densities[name])) < 1
    return found


@pytest.mark.parametrize(("name", "family"), list(product(NAMES, ["wan", "hunyuan", "cogvideox", "ltx", "mochi"])))
def test_keeping_all_is_dense(name: str, family: str) -> None:
    """Text apart, last with a padding mask, first with both branches in a batch, and last without its padding."""
    pipe = families.FAMILIES[family]()
    with genkit.apply(pipe, made(DENSE, name)) as handle:
        found = latents(pipe, family, handle)
        densities = [float(share) for share in handle.session.run.densities[name]]
        assert densities == pytest.approx([1] * len(densities)) and not handle.session.run.refusals
        assert len(densities) == sum(handle.session.run.routed[f"transformer.{layer}"] for layer in _over_all(handle))
    torch.testing.assert_close(found, plain(family), atol=2e-4, rtol=1e-4)


def _over_all(handle: Any) -> list[str]:
    """Layers that attend over all frames."""
    return [layer.name for layer in handle.session.layers if layer.kind in ("self", "joint")]


@pytest.mark.parametrize("name", NAMES)
def test_other_sizes_and_taking_it_out_leave_no_trace(name: str) -> None:
    pipe, plugin = families.wan(), made(SPARSE, name)
    with genkit.apply(pipe, plugin) as handle:
        assert torch.equal(latents(pipe, handle=handle), fresh(name))
        assert torch.equal(latents(pipe, handle=handle, **SMALL), fresh(name, **SMALL))
        assert torch.equal(latents(pipe, handle=handle), fresh(name))
    assert torch.equal(latents(pipe), plain("wan"))
    with genkit.apply(pipe, plugin) as handle:
        assert torch.equal(latents(pipe, handle=handle), fresh(name))
    assert (fresh(name) - plain("wan")).abs().max() > 1e-4


@pytest.mark.parametrize(("name", "other"), list(zip(NAMES, NAMES[1:] + NAMES[:1], strict=True)))
def test_two_pipelines_take_turns(name: str, other: str) -> None:
    """The second one, of another method, makes a whole video between two steps of the first."""
    one, two, between = families.wan(), families.wan(), []
    with genkit.apply(one, made(SPARSE, name)) as handle, genkit.apply(two, made(SPARSE, other)) as second:

        def turn(pipe: Any, step: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
            if step == 0:
                between.append(latents(two, handle=second))
            return tensors

        assert torch.equal(latents(one, handle=handle, callback_on_step_end=turn), fresh(name))
    (found,) = between
    assert torch.equal(found, fresh(other))


@pytest.mark.parametrize("name", NAMES)
def test_guidance_branches_may_come_in_either_order_or_alone(name: str) -> None:
    both, turned = branches(name, "cond", "uncond"), branches(name, "uncond", "cond")
    assert both.keys() == turned.keys() and all(torch.equal(both[key], turned[key]) for key in both)
    alone = branches(name, "cond")
    assert all(torch.equal(both[key], alone[key]) for key in alone)


def branches(name: str, *order: str) -> dict[tuple[str, int], Tensor]:
    """What the transformer makes of each guidance branch in two steps."""
    pipe, found = families.wan(), {}
    pipe.scheduler.set_timesteps(4)
    model = pipe.transformer
    with genkit.apply(pipe, made(SPARSE, name)) as handle, torch.no_grad():
        for index, branch in product(range(2), order):
            pipe.scheduler._step_index = index
            draw = torch.Generator().manual_seed(10 * index + len(branch))
            video, text = (torch.randn(1, *shape, generator=draw) for shape in ((4, 5, 6, 8), (16, 32)))
            with model.cache_context(branch):
                out = model(video, pipe.scheduler.timesteps[index : index + 1], text).sample
            found[branch, index] = out
        assert len(handle.session.run.densities[name]) == 2 * len(order) * len(_over_all(handle))
    return found


def test_the_record_counts_every_call_once() -> None:
    """Warm-up by layers and by steps, cross-attention, and sparse calls."""
    pipe = families.wan()
    with genkit.apply(
        pipe, genkit.Radial(density=0.5, block=8, min_tokens=1, dense_steps=0.5, dense_layers=1)
    ) as handle:
        latents(pipe, handle=handle)
        run = handle.session.run
    assert run.backends["dense (warm-up)"] > 0 < run.backends["gather"] == len(run.densities["radial"])
    assert sum(run.backends.values()) == sum(run.routed.values())


@pytest.mark.parametrize("name", ["adaspa", "svg2"])
def test_a_pipeline_that_is_called_directly_remembers_nothing_of_its_last_video(name: str) -> None:
    pipe = families.wan()
    with genkit.apply(pipe, made(SPARSE, name)):
        first, second = latents(pipe), latents(pipe)
    assert torch.equal(first, fresh(name)) and torch.equal(second, first)
