"""Every name that diffusers, accelerate and PyTorch do not document is where we look for it, and does what we take it
for; it is written in one file alone."""

import ast
import re
from collections.abc import Callable, Iterator
from dataclasses import fields
from importlib.metadata import version
from pathlib import Path
from typing import Any

import accelerate
import diffusers
import families
import pytest
import torch
import torch.nn.functional as F
from diffusers.hooks import HookRegistry, ModelHook
from diffusers.models._modeling_parallel import ContextParallelConfig, ParallelConfig
from diffusers.models.attention_dispatch import attention_backend
from packaging.version import Version
from torch import nn
from tree import TOP

import genkit
from genkit.attention import private
from genkit.attention.private import ENTRIES, Attribute, Import
from genkit.tiny import TINY_WEIGHTS

MATH = "_native_math"


class Doubled(ModelHook):
    """A hook with a forward of its own."""

    def new_forward(self, module: nn.Module, *args: Any, **kwargs: Any) -> Any:
        return 2 * self.fn_ref.original_forward(*args, **kwargs)


def hooked() -> tuple[nn.Module, Any, ModelHook]:
    """A module with one hook, its own forward, and the hook."""
    module = nn.Linear(2, 2)
    forward, hook = module.forward, Doubled()
    HookRegistry.check_if_exists_or_initialize(module).register_hook(hook, "doubled")
    return module, forward, hook


def transformer() -> Any:
    return families.FAMILIES["wan"]().transformer


def with_cache(config: Any) -> tuple[Any, Any]:
    """A model with a cache, and the first hook of it."""
    model = transformer()
    model.enable_cache(config)
    return model, next(private.cache_hooks(model))


def registry() -> None:
    module, _, _ = hooked()
    assert isinstance(private.REGISTRY.read(module), HookRegistry) and private.REGISTRY.is_own(module)


def registry_hooks() -> None:
    module, _, hook = hooked()
    assert private.hooks_on(module) == [hook] and private.hooks_on(nn.Linear(2, 2)) == []


def references() -> None:
    module, _, hook = hooked()
    assert private.REFERENCES.read(private.REGISTRY.read(module)) == [private.REFERENCE.read(hook)]


def reference() -> None:
    module, _, hook = hooked()
    private.REFERENCE.read(hook).forward = lambda x: x
    assert module.forward(3) == 3


def inner_forward() -> None:
    _, forward, hook = hooked()
    assert private.INNER_FORWARD.read(private.REFERENCE.read(hook)) == forward


def child_registries() -> None:
    model, _ = with_cache(diffusers.FirstBlockCacheConfig(threshold=1.0))
    with model.cache_context("cond"):
        assert private.CHILD_REGISTRIES.read(private.REGISTRY.read(model))
    private.forget_registries(model)
    assert private.CHILD_REGISTRIES.read(private.REGISTRY.read(model)) is None


def offloaded_forward() -> None:
    module = nn.Linear(2, 2)
    forward = module.forward
    accelerate.hooks.add_hook_to_module(module, accelerate.hooks.ModelHook())
    assert private.OFFLOADED_FORWARD.is_own(module) and private.OFFLOADED_FORWARD.read(module) == forward


def cache_config() -> None:
    config = diffusers.FirstBlockCacheConfig(threshold=1.0)
    model, _ = with_cache(config)
    assert private.CACHE_CONFIG.read(model) is config
    model.disable_cache()
    assert private.CACHE_CONFIG.read(model) is None and private.CACHE_CONFIG.read(type(model)) is None


def reset_cache() -> None:
    pipe, calls = families.FAMILIES["wan"](), []
    private.RESET_CACHE.write(pipe.transformer, lambda *given: calls.append(given))
    pipe.maybe_free_model_hooks()
    assert calls == [()]
    private.RESET_CACHE.read(type(pipe.transformer))(pipe.transformer, True)


def cache_state() -> None:
    ranges = {"spatial_attention_block_skip_range": 2, "current_timestep_callback": lambda: 500}
    _, hook = with_cache(diffusers.PyramidAttentionBroadcastConfig(**ranges))
    state = private.CACHE_STATE.read(hook)
    assert (state.iteration, state.cache) == (0, None)
    state.iteration = 3
    state.reset()
    assert state.iteration == 0 and type(state)().iteration == 0


def mag_ratios() -> None:
    model, hook = with_cache(diffusers.MagCacheConfig(calibrate=True, num_inference_steps=9))
    with model.cache_context("cond"):
        assert private.measured_ratios(hook) == []


def lora_parts() -> None:
    assert "transformer" in private.LORA_PARTS.read(families.FAMILIES["wan"]())


def backend() -> None:
    model = transformer()
    processor = model.blocks[0].attn1.processor
    assert private.BACKEND.read(processor) is None and private.BACKEND.read(type(processor)) is None
    with private.default_backend_kept():
        model.set_attention_backend(MATH)
    assert private.BACKEND.read(processor) == MATH


def default_backend() -> None:
    before = private.default_backend()
    with attention_backend(MATH):
        assert private.default_backend() == MATH
    with private.default_backend_kept():
        transformer().set_attention_backend(MATH)
        assert private.default_backend() == MATH
    assert private.default_backend() == before


def parallel() -> None:
    assert private.PARALLEL.read(transformer()) is None
    assert private.PARALLEL.name in diffusers.ModelMixin.enable_parallelism.__code__.co_names


def context_parallel() -> None:
    model, ring = nn.Linear(2, 2), ContextParallelConfig(ring_degree=2)
    assert private.context_parallel(model) is None
    private.PARALLEL.write(model, ParallelConfig(context_parallel_config=ring))
    assert private.context_parallel(model) is ring and ring.ulysses_degree == 1


def ulysses_mesh() -> None:
    assert private.ULYSSES_MESH.name in {field.name for field in fields(ContextParallelConfig)}


def tensor_parallel() -> None:
    model, config = nn.Linear(2, 2), ParallelConfig(tensor_parallel_config=diffusers.TensorParallelConfig(tp_degree=2))
    private.PARALLEL.write(model, config)
    assert private.tensor_parallel(model).tp_degree == 2


def cross_attention() -> None:
    block = transformer().blocks[0]
    assert private.CROSS_ATTENTION.read(block.attn2) and not private.CROSS_ATTENTION.read(block.attn1)


def execution_device() -> None:
    assert private.EXECUTION_DEVICE.read(families.FAMILIES["wan"]()) == torch.device("cpu")


def source() -> None:
    assert private.SOURCE.read(genkit.load("tiny", device="cpu").config) == str(TINY_WEIGHTS)


def blocks() -> None:
    pipe = diffusers.WanModularPipeline()
    assert private.BLOCKS.read(pipe).input_names == pipe.blocks.input_names and private.BLOCKS.is_own(pipe)


def modular_source() -> None:
    assert private.MODULAR_SOURCE.read(diffusers.WanModularPipeline()) is None


def decode() -> None:
    vae, seen = families.FAMILIES["wan"]().vae, []
    private.DECODE.write(vae, lambda z, **given: seen.append(len(z)) or diffusers.utils.BaseOutput(sample=z))
    vae.enable_slicing()
    vae.decode(torch.zeros(2, vae.config.z_dim, 1, 2, 2))
    assert seen == [1, 1]
    private.DECODE.drop(vae)
    assert not private.DECODE.is_own(vae) and private.DECODE.is_in(vae)


def step_index() -> None:
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler()
    private.STEP_INDEX.write(scheduler, 7)
    assert scheduler.step_index == 7


def model_outputs() -> None:
    scheduler, latents = diffusers.UniPCMultistepScheduler(), torch.ones(1, 4, 2, 2)
    scheduler.set_timesteps(4)
    scheduler.step(latents, scheduler.timesteps[0], latents)
    assert private.MODEL_OUTPUTS.read(scheduler)[-1].shape == latents.shape


def compiled() -> None:
    module = nn.Linear(2, 2)
    assert private.COMPILED.read(torch.compile(module)) is module


def submodules() -> None:
    module = nn.Sequential(nn.Linear(2, 2))
    assert private.SUBMODULES.read(module) == dict(module.named_children())


def backend_names() -> None:
    assert {"native", MATH} <= {name.value for name in private.BACKEND_NAMES.load()}


def dispatch() -> None:
    q, k, v = torch.randn(3, 1, 2, 5, 8, generator=torch.Generator().manual_seed(0)).unbind()
    heads_second = (x.transpose(1, 2) for x in (q, k, v))
    out = private.DISPATCH.load()(*heads_second, backend=private.BACKEND_NAMES.load()(MATH), scale=0.5, attn_mask=None)
    torch.testing.assert_close(out.transpose(1, 2), F.scaled_dot_product_attention(q, k, v, scale=0.5))


def decoder_output() -> None:
    assert private.DECODER_OUTPUT.load()(sample=torch.ones(1)).sample == 1


def scheduler_output() -> None:
    assert private.SCHEDULER_OUTPUT.load()(prev_sample=torch.ones(1)).prev_sample == 1


def randn() -> None:
    one, other = (torch.Generator().manual_seed(5) for _ in range(2))
    assert torch.equal(private.RANDN.load()((3,), generator=one, dtype=torch.float32), torch.randn(3, generator=other))


EVIDENCE: dict[str, Callable[[], None]] = {
    "REGISTRY": registry,
    "REGISTRY_HOOKS": registry_hooks,
    "REFERENCES": references,
    "REFERENCE": reference,
    "INNER_FORWARD": inner_forward,
    "CHILD_REGISTRIES": child_registries,
    "OFFLOADED_FORWARD": offloaded_forward,
    "CACHE_CONFIG": cache_config,
    "RESET_CACHE": reset_cache,
    "CACHE_STATE": cache_state,
    "CACHE_STATES": mag_ratios,
    "MAG_RATIOS": mag_ratios,
    "BACKEND": backend,
    "DEFAULT_BACKEND": default_backend,
    "PARALLEL": parallel,
    "CONTEXT_PARALLEL": context_parallel,
    "ULYSSES_MESH": ulysses_mesh,
    "TENSOR_PARALLEL": tensor_parallel,
    "CROSS_ATTENTION": cross_attention,
    "EXECUTION_DEVICE": execution_device,
    "SOURCE": source,
    "BLOCKS": blocks,
    "MODULAR_SOURCE": modular_source,
    "DECODE": decode,
    "STEP_INDEX": step_index,
    "MODEL_OUTPUTS": model_outputs,
    "COMPILED": compiled,
    "SUBMODULES": submodules,
    "BACKENDS": default_backend,
    "BACKEND_NAMES": backend_names,
    "DISPATCH": dispatch,
    "DECODER_OUTPUT": decoder_output,
    "SCHEDULER_OUTPUT": scheduler_output,
    "RANDN": randn,
    "LORA_PARTS": lora_parts,
}
"""What shows that a name is there and does what we take it for."""


def is_expected(entry: Attribute | Import) -> bool:
    """Whether the installed diffusers is one that has a name."""
    if isinstance(entry, Import):
        return True
    installed = Version(version("diffusers"))
    early = entry.since is not None and installed < Version(entry.since)
    return not early and (entry.until is None or installed < Version(entry.until))


@pytest.mark.parametrize("name", ENTRIES)
def test_it_is_there_and_does_what_we_take_it_for(name: str) -> None:
    try:
        EVIDENCE[name]()
    except AttributeError:
        if is_expected(ENTRIES[name]):
            raise
        pytest.skip(f"diffusers {version('diffusers')} is not one that needs it")


def test_the_guards_are_those_of_the_releases() -> None:
    """diffusers 0.40 brought tensor parallelism; 0.41 makes its lists of hooks again when a cache is enabled."""
    installed = Version(version("diffusers"))
    assert is_expected(private.TENSOR_PARALLEL) == (installed >= Version("0.40"))
    assert is_expected(private.CHILD_REGISTRIES) == (installed < Version("0.41"))
    assert private.TENSOR_PARALLEL.name in {field.name for field in fields(ParallelConfig)} or installed.minor < 40


def test_the_class_of_a_pipeline_is_in_its_index() -> None:
    assert diffusers.DiffusionPipeline.load_config(str(TINY_WEIGHTS))[private.CLASS_KEY] == "WanPipeline"


@pytest.mark.parametrize(
    "plugin",
    [diffusers.FirstBlockCacheConfig(), diffusers.TaylorSeerCacheConfig(cache_identifiers=[r"blocks\.\d+\.attn1"])],
)
def test_hooks_of_caches_are_told_from_others_by_their_module(plugin: Any) -> None:
    model, _ = with_cache(plugin)
    HookRegistry.check_if_exists_or_initialize(model.blocks[0]).register_hook(Doubled(), "another")
    found = list(private.cache_hooks(model))
    assert found and not any(isinstance(hook, Doubled) for hook in found)


def test_a_name_that_is_gone_is_said_with_its_reason() -> None:
    with pytest.raises(AttributeError, match=r"int has no _execution_device, which a pipeline has .*docs/versions\.md"):
        private.EXECUTION_DEVICE.read(1)
    with pytest.raises(ImportError, match=r"math has no DecoderOutput, which the versions that are supported have"):
        Import(module="math", name="DecoderOutput", reason="").load()


OURS = {
    "_Pieces": "a class of ours, in an annotation",
    "_Rows": "a class of ours, in an annotation",
    "_attention_block_skip_range": "the end of a field of ours",
    "_attention_timestep_skip_range": "the end of a field of ours",
    "_genkit_handle": "our mark on a pipeline",
    "_genkit_opened": "our mark on a pipeline",
    "_patches": "a method of the embedded autoencoder, which is ours",
    "_type": "the end of pydantic's names of errors",
}
"""Names with an underscore that stand in the source and are not another library's attributes."""
OWN_SPACES = ("sys.", "torch.")
"""Modules whose own names with an underscore are used by their full path."""
SUBCLASSES = {TOP / "genkit/tiny/autoencoder.py", TOP / "genkit/tiny/models/frames.py"}
"""Autoencoders of ours, which are subclasses of diffusers' models and answer as those do."""
NOT_TELLING = {"hooks", "state"}
"""Undocumented names that are too common to look for."""
FILES = [path for folder in ("attention", "genkit", "schedulers") for path in sorted((TOP / folder).rglob("*.py"))]


def private_names(source: str) -> Iterator[str]:
    """Names of others in a source that begin with an underscore, or that are one of the undocumented ones."""
    undocumented = {entry.name for entry in ENTRIES.values() if isinstance(entry, Attribute)} - NOT_TELLING
    imported = {(entry.module, entry.name) for entry in ENTRIES.values() if isinstance(entry, Import)}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute):
            whole, own = ast.unparse(node), isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
            found = "" if own or whole.startswith(OWN_SPACES) else node.attr
        elif isinstance(node, ast.Constant):
            found = str(node.value) if isinstance(node.value, str) else ""
        else:
            if isinstance(node, ast.ImportFrom) and not str(node.module).startswith("genkit"):
                names = [alias.name for alias in node.names]
                yield from (name for name in names if name.startswith("_") or (node.module, name) in imported)
            continue
        if re.fullmatch(r"_[a-zA-Z]\w+", found) or found in undocumented:
            yield found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(TOP)))
def test_none_is_written_anywhere_else(path: Path) -> None:
    if path.name == "private.py" or path in SUBCLASSES:
        return
    assert set(private_names(path.read_text(encoding="utf-8"))) - set(OURS) == set()


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("x = vae._decode(z)", ["_decode"]),
        ("x = getattr(model, '_parallel_config', None)", ["_parallel_config"]),
        ("x = hook.fn_ref", ["fn_ref"]),
        ("vars(m)['_diffusers_hook']", ["_diffusers_hook"]),
        ("from diffusers.models.attention_dispatch import _AttentionBackendRegistry", ["_AttentionBackendRegistry"]),
        ("from diffusers.models.autoencoders.vae import DecoderOutput", ["DecoderOutput"]),
        ("from diffusers import WanPipeline", []),
        ("self._run = sys._getframe()", []),
        ("x = torch.ops.aten._flash(q)", []),
    ],
)
def test_the_search_itself(line: str, found: list[str]) -> None:
    assert list(private_names(line)) == found
