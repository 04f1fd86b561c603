"""Whatever users do to a pipeline before or inside ``apply``: plug-ins stay in, and go without a trace."""

from collections.abc import Callable
from functools import cache
from typing import Any

import accelerate
import families
import numpy as np
import pytest
import torch

import genkit
from genkit.plugins.caches.methods import FirstBlockCache, PyramidAttentionBroadcast
from genkit.plugins.longer.freenoise import FreeNoise
from genkit.plugins.longer.windows import Windows
from genkit.plugins.prompts.timeline import Timeline
from genkit.plugins.sparse.radial import Radial
from genkit.plugins.sparse.sliding_tile import SlidingTile

CPU = torch.device("cpu")
SPARSE = {"min_tokens": 1, "dense_steps": 0, "dense_layers": 0, "impl": "reference"}
RADIAL = Radial(density=0.5, block=16, **SPARSE)
PLUGINS = {
    "radial": RADIAL,
    "sliding-tile": SlidingTile(window=(1, 1, 1), tile=(1, 3, 2), block=16, **SPARSE),
    "freenoise": FreeNoise(window=2, stride=1),
    "timeline": Timeline(),
    "pab": PyramidAttentionBroadcast(spatial_attention_timestep_skip_range=(-1, 1001)),
    "first-block-cache": FirstBlockCache(threshold=9.0),
    "windows": Windows(window=3, stride=1),
}
PROMPT = "a red circle | a blue square"


def offload_model(pipe: Any) -> None:
    """What ``load(offload="model")`` does on a GPU."""
    pipe.enable_model_cpu_offload(device="cpu")


def offload_layers(pipe: Any) -> None:
    """Sequential offload of the denoiser; accelerate cannot do it to the text encoder of the tests."""
    accelerate.cpu_offload(pipe.transformer, CPU, offload_buffers=len(pipe.transformer._parameters) > 0)


def offload_groups(pipe: Any) -> None:
    pipe.enable_group_offload(onload_device=CPU, offload_type="leaf_level")


def offload_blocks(pipe: Any) -> None:
    pipe.enable_group_offload(onload_device=CPU, offload_type="block_level", num_blocks_per_group=1)


def back_and_forth(pipe: Any) -> None:
    offload_model(pipe)
    pipe.remove_all_hooks()
    offload_layers(pipe)
    pipe.remove_all_hooks()


CHANGES: dict[str, Callable[[Any], Any]] = {
    "model offload": offload_model,
    "sequential offload": offload_layers,
    "group offload": offload_groups,
    "block offload": offload_blocks,
    "offload and back": back_and_forth,
    "freed by hand": lambda pipe: pipe.maybe_free_model_hooks(),
    "hooks removed": lambda pipe: pipe.remove_all_hooks(),
    "moved": lambda pipe: pipe.to("cpu"),
    "device map reset": lambda pipe: pipe.reset_device_map(),
    "compiled": lambda pipe: pipe.transformer.compile(backend="eager"),
    "compiled and assigned": lambda pipe: setattr(
        pipe, "transformer", torch.compile(pipe.transformer, backend="eager")
    ),
    "projections fused": lambda pipe: pipe.transformer.fuse_qkv_projections(),
}


def made(handle: Any, seed: int = 1) -> np.ndarray:
    prompt = PROMPT if handle.context.text else "a red circle"
    sizes = {name: value for name, value in families.sizes("wan").items() if "prompt" not in name}
    return handle.generate(prompt, seed=seed, **sizes).frames


@cache
def expected(plugin: str | None) -> np.ndarray:
    """The video of a pipeline to which nothing was done."""
    with genkit.apply(families.FAMILIES["wan"](), *([PLUGINS[plugin]] if plugin else [])) as handle:
        return made(handle)


def footprint(pipe: Any) -> dict[str, list[str]]:
    """The attributes of every module, its hooks and its forward."""
    return {
        name: [*sorted(vars(module)), *map(str, vars(module).get("_forward_pre_hooks", ())), str(module.forward)]
        for part in pipe.components.values()
        if isinstance(part, torch.nn.Module)
        for name, module in part.named_modules()
    } | {"pipe": sorted(vars(pipe))}


@pytest.mark.parametrize("plugin", PLUGINS)
def test_the_plugins_act_at_all(plugin: str) -> None:
    assert not np.array_equal(expected(plugin), expected(None))


@pytest.mark.parametrize("plugin", ["radial", "windows"])
@pytest.mark.parametrize("change", CHANGES)
def test_what_was_done_before_takes_no_plugin_out(change: str, plugin: str) -> None:
    pipe = families.FAMILIES["wan"]()
    CHANGES[change](pipe)
    genkit.generate(pipe, "a red circle", seed=1, num_frames=5, height=48, width=64, num_inference_steps=1)
    with genkit.apply(pipe, PLUGINS[plugin]) as handle:
        for _ in range(3):
            assert np.array_equal(made(handle), expected(plugin))
    with genkit.apply(pipe) as handle:
        assert np.array_equal(made(handle), expected(None))


@pytest.mark.parametrize("plugin", ["radial", "windows"])
@pytest.mark.parametrize("change", CHANGES)
def test_what_is_done_inside_takes_no_plugin_out(change: str, plugin: str) -> None:
    pipe = families.FAMILIES["wan"]()
    with genkit.apply(pipe, PLUGINS[plugin]) as handle:
        made(handle)
        CHANGES[change](pipe)
        for _ in range(2):
            assert np.array_equal(made(handle), expected(plugin))
    with genkit.apply(pipe) as handle:
        assert np.array_equal(made(handle), expected(None))


@pytest.mark.parametrize("plugin", PLUGINS)
def test_every_plugin_survives_model_offload(plugin: str) -> None:
    pipe = families.FAMILIES["wan"]()
    offload_model(pipe)
    with genkit.apply(pipe, PLUGINS[plugin]) as handle:
        for _ in range(3):
            assert np.array_equal(made(handle), expected(plugin))
    with genkit.apply(pipe, PLUGINS[plugin]) as handle:
        assert np.array_equal(made(handle), expected(plugin))
    with genkit.apply(pipe) as handle:
        assert np.array_equal(made(handle), expected(None))


@pytest.mark.parametrize("name", families.FAMILIES)
def test_every_family_is_routed_in_every_video_under_model_offload(name: str) -> None:
    pipe = families.FAMILIES[name]()
    offload_model(pipe)
    routed = []
    with genkit.apply(pipe) as handle:
        for _ in range(3):
            pipe(**families.call_arguments(name))
            routed.append(dict(handle.session.run.routed))
    assert len(routed[0]) == len(handle.session.layers)
    assert routed[0] == routed[1] == routed[2]


@pytest.mark.parametrize("offload", ["model offload", "sequential offload", "group offload", "block offload"])
def test_removal_leaves_an_offloaded_pipeline_as_it_was(offload: str) -> None:
    pipe = families.FAMILIES["wan"]()
    CHANGES[offload](pipe)
    pipe(**families.call_arguments("wan"))
    before = footprint(pipe)
    with genkit.apply(pipe, RADIAL, Timeline(), PLUGINS["windows"]):
        pass
    assert footprint(pipe) == before


def test_a_layer_that_others_wrapped_too_is_left_in_any_order() -> None:
    pipe = families.FAMILIES["wan"]()
    layer = pipe.transformer.blocks[0].attn1
    inner, outer = genkit.apply(pipe, RADIAL), accelerate.hooks.ModelHook()
    accelerate.hooks.add_hook_to_module(layer, outer)
    assert np.array_equal(made(inner), expected("radial"))
    inner.remove()
    with genkit.apply(pipe) as handle:
        assert np.array_equal(made(handle), expected(None))
        assert layer._hf_hook is outer
        accelerate.hooks.remove_hook_from_module(layer)
        assert np.array_equal(made(handle), expected(None))
    assert layer.forward.__func__ is type(layer).forward


def test_a_hook_of_ours_that_somebody_threw_out_comes_back() -> None:
    pipe = families.FAMILIES["wan"]()
    with genkit.apply(pipe, RADIAL) as handle:
        for block in pipe.transformer.blocks:
            del block.attn1.forward
        assert np.array_equal(made(handle), expected("radial"))
    assert all("forward" not in vars(block.attn1) for block in pipe.transformer.blocks)


def test_casting_layers_inside_is_casting_them_before() -> None:
    one, two = families.FAMILIES["wan"](), families.FAMILIES["wan"]()
    cast = {"storage_dtype": torch.float16, "compute_dtype": torch.float32}
    one.transformer.enable_layerwise_casting(**cast)
    with genkit.apply(one, RADIAL) as before, genkit.apply(two, RADIAL) as inside:
        assert np.array_equal(made(inside), expected("radial"))
        two.transformer.enable_layerwise_casting(**cast)
        assert np.array_equal(made(inside), made(before))


def test_lora_may_come_and_go_inside() -> None:
    peft = pytest.importorskip("peft")
    one, two, trained = (families.FAMILIES["wan"]() for _ in range(3))
    config = peft.LoraConfig(r=2, target_modules=["to_q", "to_k"], init_lora_weights=False)
    trained.transformer.add_adapter(config, "one")
    found = peft.get_peft_model_state_dict(trained.transformer, adapter_name="one")
    weights = {f"transformer.{name}": x for name, x in found.items()}
    one.load_lora_weights(dict(weights))
    with genkit.apply(one, RADIAL) as before, genkit.apply(two, RADIAL) as inside:
        two.load_lora_weights(dict(weights))
        assert np.array_equal(made(inside), made(before))
        assert not np.array_equal(made(inside), expected("radial"))
        two.unload_lora_weights()
        assert np.array_equal(made(inside), expected("radial"))
