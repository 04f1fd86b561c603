"""Undocumented names of diffusers, accelerate and PyTorch, each with the reason that it is needed.

They occur only here: one test searches the source for them, and another one tries each, so that a release that breaks
one fails under its name. What belongs to one model family (arguments, parts, the axes of latents) is on its
card, and what belongs to one autoencoder (caches, tiles, batches) is in the one module of ``genkit.decoding`` for it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from torch import nn


@dataclass(frozen=True, kw_only=True)
class Attribute:
    """Undocumented attribute."""

    name: str
    """Name in the other library."""
    of: str
    """Owner of the attribute, as the end of a sentence."""
    reason: str
    """Reason to read or write it."""
    since: str | None = None
    """First version of diffusers that has it; None: the oldest supported one has it."""
    until: str | None = None
    """First version of diffusers in which it is not needed and may be missing; None: all need it."""

    def read(self, owner: Any) -> Any:
        """Return its value.

        Raises:
            AttributeError: ``owner`` does not have it, for example in a release that renamed it.
        """
        try:
            return getattr(owner, self.name)
        except AttributeError as error:
            raise AttributeError(
                f"{type(owner).__name__} has no {self.name}, which {self.of} has in the versions that are supported "
                f"({self.reason}); install one of those in docs/versions.md"
            ) from error

    def find(self, owner: Any) -> Any:
        """Return its value; None if it is missing."""
        return getattr(owner, self.name, None)

    def is_in(self, owner: Any) -> bool:
        """Return True if ``owner`` or its class has it."""
        return hasattr(owner, self.name)

    def is_own(self, owner: Any) -> bool:
        """Return True if ``owner`` itself has it, not only its class."""
        return self.name in vars(owner)

    def write(self, owner: Any, value: Any) -> None:
        """Set it."""
        setattr(owner, self.name, value)

    def drop(self, owner: Any) -> None:
        """Remove it from ``owner``; its class may still have it."""
        vars(owner).pop(self.name, None)


@dataclass(frozen=True, kw_only=True)
class Import:
    """Object of diffusers at an undocumented import path."""

    module: str
    name: str
    reason: str
    """Reason to use it."""

    def load(self) -> Any:
        """Return it.

        Raises:
            ImportError: it is missing, for example in a release that moved it.
        """
        found = getattr(import_module(self.module), self.name, None)
        if found is None:
            raise ImportError(
                f"{self.module} has no {self.name}, which the versions that are supported have ({self.reason}); "
                "install one of those in docs/versions.md"
            )
        return found


REGISTRY = Attribute(name="_diffusers_hook", of="a module with hooks of diffusers", reason="finds and removes them")
REGISTRY_HOOKS = Attribute(name="hooks", of="diffusers' HookRegistry", reason="finds the hooks of a module")
REFERENCES = Attribute(name="_fn_refs", of="diffusers' HookRegistry", reason="finds a forward in a chain of forwards")
REFERENCE = Attribute(name="fn_ref", of="a hook of diffusers", reason="bypasses a step cache in another pipeline")
INNER_FORWARD = Attribute(
    name="original_forward", of="a link in diffusers' chain of forwards", reason="is the forward below a hook"
)
CHILD_REGISTRIES = Attribute(
    name="_child_registries_cache",
    of="diffusers' HookRegistry",
    reason="a list of hooks from an earlier run is not made again when a cache is enabled",
    until="0.41",
)
OFFLOADED_FORWARD = Attribute(
    name="_old_forward", of="a module with a hook of accelerate", reason="is the forward below the hook"
)
CACHE_CONFIG = Attribute(
    name="_cache_config", of="a model that diffusers can cache", reason="says which cache is enabled"
)
RESET_CACHE = Attribute(
    name="_reset_stateful_cache",
    of="a model that diffusers can cache",
    reason="is called at the end of every call of a pipeline, also of another one that shares the model",
)
CACHE_STATE = Attribute(
    name="state", of="diffusers' hook for Pyramid Attention Broadcast", reason="keeps branches and windows apart"
)
CACHE_STATES = Attribute(
    name="state_manager", of="diffusers' hooks for other caches", reason="has what MagCache measured"
)
MAG_RATIOS = Attribute(name="calibration_ratios", of="the state of MagCache", reason="is what MagCache measured")
BACKEND = Attribute(
    name="_attention_backend", of="an attention processor", reason="is native while we answer for the layer"
)
DEFAULT_BACKEND = Attribute(
    name="_active_backend", of="diffusers' registry of attention backends", reason="is the choice of layers without one"
)
PARALLEL = Attribute(name="_parallel_config", of="a model of diffusers", reason="says which devices share its tokens")
CONTEXT_PARALLEL = Attribute(
    name="context_parallel_config", of="a model's parallel configuration", reason="says how the tokens are shared"
)
ULYSSES_MESH = Attribute(
    name="_ulysses_mesh", of="ContextParallelConfig", reason="is the group of devices that share heads"
)
TENSOR_PARALLEL = Attribute(
    name="tensor_parallel_config",
    of="a model's parallel configuration",
    reason="says which devices share heads",
    since="0.40",
)
CROSS_ATTENTION = Attribute(
    name="is_cross_attention", of="an attention module", reason="says what a step cache takes for attention to the text"
)
EXECUTION_DEVICE = Attribute(name="_execution_device", of="a pipeline", reason="is the device of a run, also offloaded")
LORA_PARTS = Attribute(
    name="_lora_loadable_modules", of="a pipeline that takes a LoRA", reason="names the parts that it changes"
)
SOURCE = Attribute(name="_name_or_path", of="the configuration of a pipeline", reason="names the model in a receipt")
BLOCKS = Attribute(
    name="_blocks", of="a modular pipeline", reason="its call runs them; the public ``blocks`` are a copy of them"
)
MODULAR_SOURCE = Attribute(
    name="_pretrained_model_name_or_path", of="a modular pipeline", reason="names the model in a receipt"
)
DECODE = Attribute(name="_decode", of="an autoencoder", reason="is what every way of decoding goes through")
STEP_INDEX = Attribute(name="_step_index", of="a scheduler", reason="counts turns where a turn is not a step")
MODEL_OUTPUTS = Attribute(name="model_outputs", of="a UniPC scheduler", reason="has the clean latents of a preview")
COMPILED = Attribute(name="_orig_mod", of="a module in torch.compile's wrapper", reason="finds the model itself")
SUBMODULES = Attribute(name="_modules", of="a module", reason="gives a copy other parts than the module it is made of")

BACKENDS = Import(
    module="diffusers.models.attention_dispatch",
    name="_AttentionBackendRegistry",
    reason="knows the attention backend of layers without a choice of their own",
)
BACKEND_NAMES = Import(
    module="diffusers.models.attention_dispatch", name="AttentionBackendName", reason="knows all attention backends"
)
DISPATCH = Import(
    module="diffusers.models.attention_dispatch",
    name="dispatch_attention_fn",
    reason="computes dense attention on the backend that the user chose",
)
DECODER_OUTPUT = Import(
    module="diffusers.models.autoencoders.vae", name="DecoderOutput", reason="is what an autoencoder returns"
)
SCHEDULER_OUTPUT = Import(
    module="diffusers.schedulers.scheduling_utils", name="SchedulerOutput", reason="is what a scheduler returns"
)
RANDN = Import(
    module="diffusers.utils.torch_utils", name="randn_tensor", reason="draws noise as the pipelines do, on any device"
)

CLASS_KEY = "_class_name"
"""Key of the pipeline's class in ``model_index.json``."""
CACHE_MODULES = ("_cache", "_broadcast")
"""Endings of the modules in ``diffusers.hooks`` that hold the hooks of step caches."""

ENTRIES: dict[str, Attribute | Import] = {
    name: entry for name, entry in list(globals().items()) if isinstance(entry, (Attribute, Import))
}
"""Everything above, by our name for it."""


def hooks_on(module: nn.Module) -> list[Any]:
    """Return the hooks of diffusers on a module."""
    registry = REGISTRY.find(module)
    return [] if registry is None else list(REGISTRY_HOOKS.read(registry).values())


def cache_hooks(model: nn.Module) -> Iterator[Any]:
    """Yield the hooks of diffusers' caches on a model's layers, in the order of the layers."""
    for module in model.modules():
        for hook in hooks_on(module):
            origin = type(hook).__module__
            if origin.startswith("diffusers.hooks.") and origin.endswith(CACHE_MODULES):
                yield hook


def forget_registries(model: nn.Module) -> None:
    """Make diffusers search for hooks again; see ``CHILD_REGISTRIES``."""
    for module in model.modules():
        registry: Any = vars(module).get(REGISTRY.name)
        if CHILD_REGISTRIES.is_in(registry):
            CHILD_REGISTRIES.write(registry, None)


def default_backend() -> Any:
    """Return the attention backend of layers without a choice of their own."""
    return DEFAULT_BACKEND.read(BACKENDS.load())


@contextmanager
def default_backend_kept() -> Iterator[None]:
    """Restore the default backend after the block: diffusers makes a backend chosen for one model the default."""
    registry = BACKENDS.load()
    before = DEFAULT_BACKEND.read(registry)
    try:
        yield
    finally:
        DEFAULT_BACKEND.write(registry, before)


def context_parallel(model: nn.Module) -> Any:
    """Return a model's ``ContextParallelConfig``, by which devices share tokens; None on one device."""
    return CONTEXT_PARALLEL.find(PARALLEL.find(model))


def tensor_parallel(model: nn.Module) -> Any:
    """Return a model's ``TensorParallelConfig``, by which devices share weights; None on one device."""
    return TENSOR_PARALLEL.find(PARALLEL.find(model))


def measured_ratios(hook: Any) -> list[float]:
    """Return the ratios that MagCache measured in a run with ``calibrate``, one for each step so far."""
    found: list[float] = MAG_RATIOS.read(CACHE_STATES.read(hook).get_state())
    return found
