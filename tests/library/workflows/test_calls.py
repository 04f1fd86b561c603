"""What users pass to a call: callbacks, generators, latents, guidance, several videos; as stock, bit for bit."""

from typing import Any

import pytest
import torch
from torch import Tensor
from workflows import PIPELINES, PLUGINS, applied, build, expected, routed_videos, video

STEPS = 2
NONE = {"guidance_scale": 0.0}
ONE = {"guidance_scale": 1.0}


@pytest.fixture(scope="module", params=PIPELINES)
def case(request: pytest.FixtureRequest) -> tuple[str, Any]:
    """A pipeline that every test leaves as it was."""
    return request.param, build(request.param)


def unguided(name: str, guidance: dict[str, float]) -> dict[str, float]:
    """Return the arguments with which a pipeline runs one branch."""
    return guidance | ({"true_cfg_scale": 1.0} if name == "hunyuan" else {})


def generators(*seeds: int) -> list[torch.Generator]:
    """Return a generator for each video."""
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def brighten(pipe: Any, index: int, timestep: Any, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Change the latents after each step."""
    return {"latents": tensors["latents"] * 1.25 + 0.5}


def stop(pipe: Any, index: int, timestep: Any, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Interrupt after the first step, as diffusers documents it."""
    pipe._interrupt = True
    return tensors


def as_stock(case: tuple[str, Any], seeds: tuple[int, ...] = (), **changes: Any) -> None:
    """Check that routing alone changes nothing, and that each plug-in acts and leaves the next video alone.

    With ``seeds`` every call has a fresh generator for each video.
    """
    name, pipe = case

    def made_now() -> Tensor:
        return video(name, pipe, **changes, **({"generator": generators(*seeds)} if seeds else {}))

    plain = made_now()
    for plugins in PLUGINS:
        with applied(pipe, plugins) as handle:
            made = made_now()
            assert len(handle.session.run.routed) == len(handle.session.layers)
            assert torch.equal(made, plain) == (plugins == "nothing") and torch.isfinite(made).all()
            assert torch.equal(routed_videos(handle, name, 1)[0], expected(name, plugins))
    assert torch.equal(made_now(), plain)


def test_a_callback_that_changes_the_latents(case: tuple[str, Any]) -> None:
    as_stock(case, callback_on_step_end=brighten)
    name, pipe = case
    with applied(pipe, "sparse"):
        assert not torch.equal(video(name, pipe, callback_on_step_end=brighten), expected(name, "sparse"))
        same = video(name, pipe, callback_on_step_end=lambda pipe, index, timestep, tensors: tensors)
        assert torch.equal(same, expected(name, "sparse"))


def test_a_callback_that_interrupts(case: tuple[str, Any]) -> None:
    as_stock(case, callback_on_step_end=stop)
    name, pipe = case
    with applied(pipe, "nothing") as handle:
        video(name, pipe, callback_on_step_end=stop)
        video(name, pipe)
        unfinished = ["the call was interrupted, so the video is unfinished" in one.notes for one in handle.receipts]
    assert unfinished == [True, False]


def test_a_list_of_generators(case: tuple[str, Any]) -> None:
    name, _ = case
    texts = {"prompt": ["a red circle", "a blue square"], "negative_prompt": ["", ""]}
    as_stock(case, (3, 4), **texts)


def test_latents_of_the_users_own(case: tuple[str, Any]) -> None:
    name, pipe = case
    given = torch.randn_like(video(name, pipe), generator=None)
    plain = video(name, pipe, latents=given)
    with applied(pipe, "nothing"):
        assert torch.equal(video(name, pipe, latents=given), plain)
    with applied(pipe, "sparse"):
        assert not torch.equal(video(name, pipe, latents=given), plain)
    with applied(pipe, "noise and positions") as handle:
        video(name, pipe, latents=given)
        assert "latents were given, so their noise was left as it is" in " ".join(handle.receipts[-1].notes)
    assert torch.equal(video(name, pipe, latents=given), plain)


@pytest.mark.parametrize("guidance", [NONE, ONE], ids=["0", "1"])
def test_one_branch_alone(case: tuple[str, Any], guidance: dict[str, float]) -> None:
    name, pipe = case
    as_stock(case, **unguided(name, guidance))
    with applied(pipe, "sparse") as handle:
        video(name, pipe, **unguided(name, guidance))
        assert set(handle.session.run.routed.values()) == {STEPS}


def test_two_videos_of_one_prompt(case: tuple[str, Any]) -> None:
    name, pipe = case
    as_stock(case, (3, 4), num_videos_per_prompt=2)
    with applied(pipe, "sparse"):
        assert len(video(name, pipe, num_videos_per_prompt=2, generator=generators(3, 4))) == 2


@pytest.mark.parametrize("plugins", PLUGINS)
def test_a_batch_of_two_is_two_singles(case: tuple[str, Any], plugins: str) -> None:
    name, pipe = case
    prompts = ["a red circle", "a blue square"]
    with applied(pipe, plugins):
        both = video(name, pipe, prompt=prompts, negative_prompt=["blue"] * 2, generator=generators(3, 4))
        alone = [
            video(name, pipe, prompt=prompt, negative_prompt="blue", generator=generators(seed))[0]
            for prompt, seed in zip(prompts, (3, 4), strict=True)
        ]
    torch.testing.assert_close(both, torch.stack(alone), rtol=1e-4, atol=1e-4)


def test_tiles_and_slices_of_the_autoencoder(case: tuple[str, Any]) -> None:
    name, pipe = case
    pixels = {"output_type": "pt", "num_videos_per_prompt": 2, "generator": generators(3, 4)}
    pipe.vae.enable_slicing()
    pipe.vae.enable_tiling()
    try:
        plain = video(name, pipe, **pixels)
        pixels["generator"] = generators(3, 4)
        with applied(pipe, "nothing"):
            assert torch.equal(video(name, pipe, **pixels), plain)
    finally:
        pipe.vae.disable_slicing()
        pipe.vae.disable_tiling()
