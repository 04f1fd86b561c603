"""What was asked for and passed by ends in an error that names it, at every seam; never in a video."""

from collections.abc import Callable
from dataclasses import fields
from typing import Any

import families
import numpy as np
import pytest
import torch

import genkit
from genkit.generation.asked import PASSED_BY
from genkit.plugins.caches.methods import FirstBlockCache
from genkit.plugins.contract import Parts
from genkit.plugins.longer.freenoise import FreeNoise
from genkit.plugins.prompts.timeline import Timeline
from genkit.plugins.sparse.radial import Radial

SIZES = {name: value for name, value in families.sizes("wan").items() if "prompt" not in name}
RADIAL = Radial(density=0.5, min_tokens=1, block=16, dense_steps=0, dense_layers=0, impl="reference")
FREENOISE = FreeNoise(window=2, stride=1)
CACHE = FirstBlockCache(threshold=9.0)


@pytest.fixture
def pipe() -> Any:
    return families.FAMILIES["wan"]()


def made(handle: Any, **changes: Any) -> Any:
    return handle.generate("a red circle", **(SIZES | {"seed": 1} | changes))


def hooks_lost(pipe: Any) -> None:
    """The models' own hooks of torch are gone, and so are the forwards of their layers."""
    for module in pipe.transformer.modules():
        module._forward_pre_hooks.clear()
        module._forward_hooks.clear()
        while type(module.__dict__.get("forward")).__name__ == "Passage":
            module.forward = module.forward.inner


def layers_forgotten(pipe: Any) -> None:
    """As above, and nothing puts them back."""
    hooks_lost(pipe)
    pipe._genkit_handle.session.passages.clear()


def beginning_lost(pipe: Any) -> None:
    """What happened under model offload: the layers are asked, and nobody saw the model's forward begin."""
    pipe.transformer._forward_pre_hooks.clear()


def unshadowed(method: str) -> Callable[[Any], None]:
    return lambda pipe: pipe.__dict__.pop(method)


def cache_lost(pipe: Any) -> None:
    pipe.transformer.disable_cache()


CAUSES: list[tuple[Any, Callable[[Any], None], str]] = [
    (RADIAL, hooks_lost, "transformer.blocks.0.attn1 ran in a forward of its model whose beginning was not seen"),
    (RADIAL, layers_forgotten, "radial was asked for, but none of the model's attention calls reached it"),
    (FREENOISE, layers_forgotten, "freenoise was asked for, but none of the model's attention calls reached it"),
    (Timeline(), layers_forgotten, "timeline was asked for, but none of the model's attention calls reached it"),
    (RADIAL, beginning_lost, "transformer.blocks.0.attn1 ran in a forward of its model whose beginning was not seen"),
    (FREENOISE, unshadowed("prepare_latents"), "freenoise was asked for, but the pipeline made its first latents"),
    (Timeline(), unshadowed("encode_prompt"), "timeline was asked for, but the pipeline encoded its prompt without it"),
    (CACHE, cache_lost, "first-block-cache was asked for, but none of the model's layers reached it"),
]


@pytest.mark.parametrize("after", [0, 1], ids=["first video", "second video"])
@pytest.mark.parametrize(("plugin", "cause", "said"), CAUSES)
def test_what_was_lost_is_named_and_there_is_no_video(
    pipe: Any, plugin: Any, cause: Callable[[Any], None], said: str, after: int
) -> None:
    handle = genkit.apply(pipe, plugin)
    last = [made(handle) for _ in range(after)]
    cause(pipe)
    for _ in range(2):
        with pytest.raises(genkit.GenkitError, match=f"^{said}.*apply\\(\\)") as caught:
            made(handle)
        assert not isinstance(caught.value, genkit.UsageError), "the exit code of what went wrong is 1"
    assert handle.last is (last[0] if last else None)


@pytest.mark.parametrize(("plugin", "cause", "said"), CAUSES)
def test_the_pipelines_own_call_ends_in_the_same_error(
    pipe: Any, plugin: Any, cause: Callable[[Any], None], said: str
) -> None:
    with pytest.raises((genkit.GenkitError, RuntimeError), match=said), genkit.apply(pipe, plugin):
        pipe(**families.call_arguments("wan"))
        cause(pipe)
        pipe(**families.call_arguments("wan"))


def test_one_of_two_plugins_that_was_passed_by_is_named(pipe: Any) -> None:
    handle = genkit.apply(pipe, RADIAL, CACHE)
    cache_lost(pipe)
    with pytest.raises(genkit.GenkitError, match="^first-block-cache was asked for"):
        made(handle)


def test_the_end_is_checked_where_a_pipeline_does_not_end_in_the_usual_way(pipe: Any) -> None:
    with genkit.apply(pipe, RADIAL) as handle:
        pipe.__dict__.pop("maybe_free_model_hooks")
        made(handle)
        assert handle.session.run.ended
        layers_forgotten(pipe)
        with pytest.raises(genkit.GenkitError, match="^radial was asked for"):
            made(handle)


@pytest.mark.parametrize("boundary", [0.0, 0.9, 1.0])
def test_an_expert_whose_turn_never_came_is_no_error(boundary: float) -> None:
    pipe = families.FAMILIES["wan22"]()
    pipe.register_to_config(boundary_ratio=boundary)
    with genkit.apply(pipe, RADIAL) as handle:
        video = made(handle)
    ran = {layer.partition(".")[0] for layer in handle.session.run.routed}
    assert ran == {0.0: {"transformer"}, 0.9: {"transformer", "transformer_2"}, 1.0: {"transformer_2"}}[boundary]
    assert video.receipt.attention.densities["radial"].calls


def test_an_expert_that_was_passed_by_is_an_error_though_the_other_was_not() -> None:
    pipe = families.FAMILIES["wan22"]()
    with genkit.apply(pipe, RADIAL) as handle:
        made(handle)
        pipe.transformer_2._forward_pre_hooks.clear()
        with pytest.raises(genkit.GenkitError, match="transformer_2.blocks.0.attn1 ran in a forward"):
            made(handle)


def test_calls_that_are_dense_as_asked_are_one_note_and_no_error(pipe: Any) -> None:
    said = "radial: every call is dense, as dense_steps, dense_sigma and dense_layers ask"
    with genkit.apply(pipe, RADIAL) as handle:
        assert said not in made(handle).receipt.notes
    with genkit.apply(pipe, Radial(density=0.5, min_tokens=1, block=16, dense_steps=1.0)) as handle:
        assert [note for note in made(handle).receipt.notes if "dense" in note] == [said]
        pipe(**families.call_arguments("wan"))
        assert handle.session.run.notes == [said]


def test_only_a_sparse_method_is_said_to_be_dense(pipe: Any) -> None:
    """Windows beside it have no density, and did all that was asked."""
    radial = Radial(density=0.5, min_tokens=1, block=16, dense_layers=1)
    with genkit.apply(pipe, genkit.FreeNoise(window=2, stride=1), radial) as handle:
        receipt = made(handle).receipt
    assert receipt.attention.backends["dense (warm-up)"] and receipt.attention.densities["radial"].calls
    assert not [note for note in receipt.notes if "every call is dense" in note]


@pytest.mark.parametrize("name", families.FAMILIES)
def test_a_plain_run_asks_for_nothing(name: str) -> None:
    pipe = families.FAMILIES[name]()
    sizes = {key: value for key, value in families.sizes(name).items() if "prompt" not in key}
    with genkit.apply(pipe) as handle:
        assert handle.generate("a red circle", seed=1, **sizes).receipt.plugins == ()
        pipe(**families.call_arguments(name))
        assert handle.session.run.ended


def test_latents_that_were_given_are_no_error(pipe: Any) -> None:
    with genkit.apply(pipe, FREENOISE) as handle:
        arguments = families.call_arguments("wan")
        drawn = pipe.prepare_latents(1, 4, 48, 64, arguments["num_frames"], torch.float32, torch.device("cpu"))
        out = np.asarray(pipe(**arguments, latents=drawn).frames)
        assert np.isfinite(out).all()
        assert any("latents were given" in note for note in handle.session.run.notes)


def test_freeing_the_models_by_hand_is_no_run(pipe: Any) -> None:
    with genkit.apply(pipe, RADIAL) as handle:
        pipe.maybe_free_model_hooks()
        made(handle)
        pipe.maybe_free_model_hooks()


def test_every_part_of_a_plugin_is_a_seam_that_nothing_may_pass_by():
    assert set(PASSED_BY) == {"attention"} | {field.name for field in fields(Parts)} - {"rules"}
