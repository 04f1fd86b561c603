"""The solver: a checkpoint's own scheduler unless another one, or another shift, is asked for."""

import inspect
from typing import Any

from genkit.attention.facts.call import defaults_of_call
from genkit.checks.values import quote, real
from genkit.errors import UsageError, nearest

NAMES = {
    "euler": ("FlowMatchEulerDiscreteScheduler", "EulerDiscreteScheduler"),
    "heun": ("FlowMatchHeunDiscreteScheduler", "HeunDiscreteScheduler"),
    "lcm": ("FlowMatchLCMScheduler", "LCMScheduler"),
    "unipc": ("UniPCMultistepScheduler", "UniPCMultistepScheduler"),
    "dpm": ("DPMSolverMultistepScheduler", "DPMSolverMultistepScheduler"),
    "ddim": ("DDIMScheduler", "DDIMScheduler"),
}
"""diffusers' class of each short name: for models of flow matching, and for the others."""
SHIFTS = ("flow_shift", "shift")
"""Names of the shift of flow matching in the configuration of a scheduler."""


def check_solver(scheduler: Any, flow_shift: Any) -> None:
    """Raise ``UsageError`` unless both are None or known values; a scheduler may also be a class of diffusers."""
    if flow_shift is not None and not real("flow_shift", flow_shift) > 0:
        raise UsageError(f"flow_shift={quote(flow_shift)} must be above 0; 1 shifts nothing")
    if scheduler is not None and scheduler not in NAMES and _class_of(scheduler) is None:
        raise UsageError(
            f"scheduler={quote(scheduler)} is unknown; {nearest(str(scheduler), NAMES)}, or give the name of a "
            "scheduler class of diffusers"
        )


def set_solver(pipe: Any, scheduler: str | None, flow_shift: float | None) -> None:
    """Replace a pipeline's scheduler by another with the same configuration, or change its shift.

    Args:
        scheduler: a name in ``NAMES`` or a class of diffusers; None keeps the class.
        flow_shift: shift of the noise levels, above 0; 1 is none; None keeps the checkpoint's.

    Raises:
        UsageError: the pipeline gives its scheduler noise levels that this one does not take, or it has no shift.
    """
    if scheduler is None and flow_shift is None:
        return
    own = pipe.scheduler
    kind = type(own) if scheduler is None else _class_of(_full_name(scheduler, own))
    _check_levels(pipe, own, kind)
    changes = _in_terms_of(kind, own)
    if flow_shift is not None:
        changes |= _shifted(kind, float(flow_shift))
    takes = inspect.signature(kind.__init__).parameters
    pipe.scheduler = kind.from_config({name: own.config[name] for name in takes if name in own.config}, **changes)


def solver_of(pipe: Any) -> str:
    """Return the class of a pipeline's scheduler and its shift, if it has one, for the receipt."""
    config = getattr(getattr(pipe, "scheduler", None), "config", {})
    named = pipe.config.get("scheduler") if hasattr(pipe.config, "get") else None
    name = named[1] if isinstance(named, list | tuple) and named[1] else type(getattr(pipe, "scheduler", None)).__name__
    shift = _shift_of(config)
    return name if shift is None else f"{name}, flow shift {shift:g}"


def _class_of(name: Any) -> Any:
    import diffusers

    kind = getattr(diffusers, name, None) if isinstance(name, str) else None
    return kind if isinstance(kind, type) and issubclass(kind, diffusers.SchedulerMixin) else None


def _full_name(scheduler: str, own: Any) -> str:
    flow, other = NAMES.get(scheduler, (scheduler, scheduler))
    return flow if _is_flow(own) else other


def _is_flow(own: Any) -> bool:
    said = own.config.get("prediction_type") == "flow_prediction" or own.config.get("use_flow_sigmas")
    return bool(said) or type(own).__name__.startswith("FlowM")


def _shift_of(config: Any) -> float | None:
    if config.get("use_dynamic_shifting"):
        return None
    found = next((config[name] for name in SHIFTS if config.get(name) is not None), None)
    return float(found) if isinstance(found, int | float) and not isinstance(found, bool) else None


def _check_levels(pipe: Any, own: Any, kind: Any) -> None:
    """Refuse a scheduler without an argument for noise levels where the pipeline may compute them itself."""
    takes = [name for name in ("sigmas", "mu") if name in inspect.signature(type(own).set_timesteps).parameters]
    lacks = [name for name in takes if name not in inspect.signature(kind.set_timesteps).parameters]
    if "sigmas" in lacks and "sigmas" in defaults_of_call(pipe):
        raise UsageError(
            f"scheduler={kind.__name__!r}: {type(pipe).__name__} computes the noise levels itself, and this scheduler "
            "does not take them; use another, or leave it out"
        )


def _in_terms_of(kind: Any, own: Any) -> dict[str, Any]:
    """Return what another class calls otherwise: the shift of flow matching, and that the model predicts a flow."""
    if isinstance(own, kind) or not _is_flow(own):
        return {}
    takes, changes = inspect.signature(kind.__init__).parameters, dict[str, Any]()
    if "flow_shift" in takes:
        changes |= {"prediction_type": "flow_prediction", "use_flow_sigmas": True}
    if (shift := _shift_of(own.config)) is not None:
        changes |= {name: shift for name in SHIFTS if name in takes}
    return changes


def _shifted(kind: Any, shift: float) -> dict[str, Any]:
    takes = inspect.signature(kind.__init__).parameters
    name = next((name for name in SHIFTS if name in takes), None)
    if name is None:
        raise UsageError(f"flow_shift={shift:g}: {kind.__name__} has no shift; leave it out")
    return {name: shift} | ({"use_dynamic_shifting": False} if "use_dynamic_shifting" in takes else {})
