"""The noise levels of a diffusers scheduler, where frames may stand at different ones."""

from typing import Any, Literal

from genkit.errors import UsageError
from genkit.schedulers.turns import Levels

PREDICTIONS: dict[str, Literal["velocity", "clean"]] = {"flow_prediction": "velocity", "sample": "clean"}
"""Kinds of prediction with flow-matching noise levels, as schedulers that know others too call them."""


def levels_of(scheduler: Any, plugin: str) -> Levels:
    """Return the levels that a scheduler goes through, after its ``set_timesteps``.

    Raises:
        UsageError: its levels are not those of flow matching, or it calls the model more than once a step.
    """
    return Levels(
        sigmas=scheduler.sigmas.clone(),
        timesteps=scheduler.timesteps.clone(),
        predicts=check_flow(scheduler, plugin),
    )


def check_flow(scheduler: Any, plugin: str) -> Literal["velocity", "clean"]:
    """Return what the model of a flow-matching scheduler predicts.

    Raises:
        UsageError: see ``levels_of``.
    """
    name, config = type(scheduler).__name__, scheduler.config
    if getattr(scheduler, "order", 1) != 1:
        raise UsageError(
            f"{plugin}: {name} calls the model {scheduler.order} times for a step, and a turn calls it once; use "
            "FlowMatchEulerDiscreteScheduler"
        )
    if name.startswith("FlowMatch") and not config.get("invert_sigmas"):
        return "velocity"
    if config.get("use_flow_sigmas") and config.get("prediction_type") in PREDICTIONS:
        return PREDICTIONS[config["prediction_type"]]
    raise UsageError(
        f"{plugin} moves each frame along the noise levels of flow matching, and {name} (prediction_type="
        f"{config.get('prediction_type')!r}) has others; use FlowMatchEulerDiscreteScheduler, or UniPC with "
        "use_flow_sigmas=True"
    )


def shift_for(scheduler: Any, mu: float, tokens: int, seen: int) -> float:
    """Return the shift of the noise levels for ``seen`` tokens, where ``mu`` is the pipeline's for ``tokens``.

    Pipelines with dynamic shifting (LTX) let it grow linearly with the tokens of the whole video; a model that sees a
    window of it was trained on the shift of the window.
    """
    config = scheduler.config
    slope = (config.get("max_shift", 1.15) - config.get("base_shift", 0.5)) / (
        config.get("max_image_seq_len", 4096) - config.get("base_image_seq_len", 256)
    )
    return mu - slope * (tokens - seen)
