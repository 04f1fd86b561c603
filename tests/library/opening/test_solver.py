"""The solver of a checkpoint stays unless another is asked for, and few-step settings reach the pipeline."""

from typing import Any

import diffusers
import pytest
import torch
from small_pipelines import SMALL

import genkit
from genkit.opening.solver import NAMES, solver_of

WAN, ANIMATED, HUNYUAN = (SMALL[name] for name in ("WanPipeline", "AnimateDiffPipeline", "HunyuanVideoPipeline"))


def video(small: Any, pipe: Any, **changes: Any) -> torch.Tensor:
    pipe.set_progress_bar_config(disable=True)
    return small.video(pipe, **changes)


def test_the_checkpoints_own_solver_stays() -> None:
    pipe = WAN.build()
    own, config = pipe.scheduler, dict(pipe.scheduler.config)
    assert genkit.load(pipe).scheduler is own and dict(own.config) == config
    assert solver_of(pipe) == "UniPCMultistepScheduler, flow shift 3"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("small", [WAN, ANIMATED], ids=["flow", "noise"])
def test_a_short_name_is_the_class_that_fits_the_model(name: str, small: Any) -> None:
    if small is WAN and name in ("heun", "ddim"):
        pytest.skip("refused below, or not of flow matching")
    pipe = genkit.load(small.build(), scheduler=name)
    assert type(pipe.scheduler).__name__ == NAMES[name][small is ANIMATED]
    assert torch.isfinite(video(small, pipe)).all()


def test_shift_and_kind_of_prediction_go_along() -> None:
    """UniPC calls it ``flow_shift``, Euler ``shift``: the noise levels have to be the same."""
    pipe = genkit.load(WAN.build(), scheduler="euler")
    assert pipe.scheduler.config.shift == 3
    own = diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0)
    for scheduler in (pipe.scheduler, own):
        scheduler.set_timesteps(4)
    assert torch.equal(pipe.scheduler.sigmas, own.sigmas)
    back = genkit.load(pipe, scheduler="unipc").scheduler
    assert (back.config.flow_shift, back.config.prediction_type, back.config.use_flow_sigmas) == (
        3.0, "flow_prediction", True,
    )  # fmt: skip


@pytest.mark.parametrize("small", [WAN, HUNYUAN], ids=["wan", "hunyuan"])
def test_a_shift_moves_the_noise_levels_as_its_formula_says(small: Any) -> None:
    """sigma' = s sigma / (1 + (s - 1) sigma), of the levels without a shift. Source: arXiv 2403.03206."""
    plain, shifted = (genkit.load(small.build(), scheduler="euler", flow_shift=shift).scheduler for shift in (1, 5))
    for scheduler in (plain, shifted):
        scheduler.set_timesteps(4, sigmas=[1.0, 0.75, 0.5, 0.25])
    sigma = plain.sigmas.double()
    torch.testing.assert_close(shifted.sigmas.double(), 5 * sigma / (1 + 4 * sigma), atol=1e-6, rtol=0)
    assert "flow shift 5" in solver_of(genkit.load(small.build(), flow_shift=5))


@pytest.mark.parametrize("steps", [1, 4, 8])
def test_few_steps_without_guidance(steps: int) -> None:
    """One forward a step, the solver in the receipt, and the request in the recipe."""
    pipe = genkit.load(WAN.build(), scheduler="lcm", flow_shift=8)
    sizes = {name: WAN.call[name] for name in ("num_frames", "height", "width")}
    with genkit.apply(pipe) as handle:
        made = handle.generate(
            "a red circle", seed=1, fps=8, guidance_scale=1, num_inference_steps=steps, max_sequence_length=16, **sizes
        )
    assert made.receipt.attention.calls == 2 * len(pipe.transformer.blocks) * steps  # self and cross attention
    assert made.receipt.opened["solver"] == "FlowMatchLCMScheduler, flow shift 8"
    assert {"scheduler": "lcm", "flow_shift": 8}.items() <= made.request.items()


def test_it_is_diffusers_own_pipeline_with_that_solver() -> None:
    by_hand = WAN.build()
    by_hand.scheduler = diffusers.FlowMatchEulerDiscreteScheduler(shift=2.0)
    made = genkit.load(WAN.build(), scheduler="FlowMatchEulerDiscreteScheduler", flow_shift=2.0)
    assert torch.equal(video(WAN, made, guidance_scale=1.0), video(WAN, by_hand, guidance_scale=1.0))


@pytest.mark.parametrize(
    ("small", "asked", "message"),
    [
        (WAN, {"scheduler": "lmc"}, "scheduler='lmc' is unknown; did you mean 'lcm'"),
        (WAN, {"scheduler": "WanPipeline"}, "scheduler='WanPipeline' is unknown"),
        (WAN, {"scheduler": 5}, "scheduler=5 is unknown"),
        (WAN, {"flow_shift": 0}, "flow_shift=0 must be above 0"),
        (WAN, {"flow_shift": "3"}, "flow_shift='3' must be a finite number"),
        (ANIMATED, {"flow_shift": 3}, "flow_shift=3: DDIMScheduler has no shift"),
        (HUNYUAN, {"scheduler": "heun"}, "HunyuanVideoPipeline computes the noise levels itself"),
    ],
)
def test_what_cannot_be_is_refused(small: Any, asked: dict[str, Any], message: str) -> None:
    with pytest.raises(genkit.UsageError, match=message):
        genkit.load(small.build(), **asked)
