"""Step caches: diffusers' own, the same bits as by hand; fresh for every run, apart for each branch, out again."""

import re
from dataclasses import dataclass
from functools import cache
from typing import Any

import diffusers.hooks
import families
import numpy as np
import pytest
import torch

import genkit
from genkit.plugins.caches.methods import FirstBlockCache, MagCache, PyramidAttentionBroadcast, TaylorSeer
from genkit.plugins.catalogue import make
from genkit.plugins.sparse.radial import Radial

STEPS = 4
ALWAYS = (-1, 1001)
RATIOS = (1.0, 1.02, 0.97, 0.99)
ATTENTION = {
    "wan": [r"blocks\.\d+\.attn1", r"blocks\.\d+\.attn2"],
    "hunyuan": None,  # diffusers' own patterns fit
    "cogvideox": [r"transformer_blocks\.\d+\.attn1"],
    "ltx": [r"transformer_blocks\.\d+\.attn[12]"],
    "mochi": [r"transformer_blocks\.\d+\.attn1"],
}
FAMILIES = list(ATTENTION)
RADIAL = Radial(density=0.5, min_tokens=1, block=16, dense_steps=0, dense_layers=0, impl="reference")
PLUGINS = {
    "pab": PyramidAttentionBroadcast(spatial_attention_timestep_skip_range=ALWAYS),
    "first-block-cache": FirstBlockCache(threshold=9.0),
    "mag-cache": MagCache(mag_ratios=RATIOS, threshold=9.0, max_skip_steps=1),
    "taylor-seer": TaylorSeer(cache_interval=2, disable_cache_before_step=1),
}
IDLE = {
    "pab": PyramidAttentionBroadcast(
        spatial_attention_block_skip_range=1, spatial_attention_timestep_skip_range=ALWAYS
    ),
    "first-block-cache": FirstBlockCache(threshold=0),
    "mag-cache": MagCache(mag_ratios=RATIOS, threshold=9.0, max_skip_steps=0),
    "taylor-seer": TaylorSeer(cache_interval=1, disable_cache_before_step=1),
}
EVERY = [(plugin, name) for plugin in PLUGINS for name in FAMILIES]


def config(plugin: str, name: str, pipe: Any) -> Any:
    """What a user of diffusers would write for the same cache."""
    if plugin == "pab":
        return diffusers.hooks.PyramidAttentionBroadcastConfig(
            spatial_attention_block_skip_range=2,
            spatial_attention_timestep_skip_range=ALWAYS,
            current_timestep_callback=lambda: pipe.current_timestep,
        )
    if plugin == "first-block-cache":
        return diffusers.hooks.FirstBlockCacheConfig(threshold=9.0)
    if plugin == "mag-cache":
        return diffusers.hooks.MagCacheConfig(
            threshold=9.0, max_skip_steps=1, num_inference_steps=STEPS, mag_ratios=list(RATIOS)
        )
    return diffusers.hooks.TaylorSeerCacheConfig(
        cache_interval=2, disable_cache_before_step=1, cache_identifiers=ATTENTION[name]
    )


def skipped_forwards(plugin: str, layer: str) -> int:
    """Of the four forwards of a branch, those in which a layer is skipped; worked out by hand."""
    if plugin == "first-block-cache":  # only the first step is computed, but for the first block
        return 0 if re.fullmatch(r"(transformer_)?blocks\.0\..*", layer) else 3
    if plugin == "pab" and layer.startswith("blocks") and layer.endswith("attn2"):
        return 0  # Wan's attention to the text, which was not asked for
    return 2  # the second and the fourth


def run(pipe: Any, name: str, **changes: Any) -> np.ndarray:
    """Latents of one run; guidance of one forward a branch is off unless asked for."""
    alone = {"wan": {"guidance_scale": 1.0}, "hunyuan": {"true_cfg_scale": 1.0}}.get(name, {})
    return np.asarray(pipe(**families.call_arguments(name, **{"num_inference_steps": STEPS} | alone | changes)).frames)


def footprint(pipe: Any) -> dict[str, list[str]]:
    """The attributes of every module, the hooks that are in it, and its forward."""
    return {
        name: [*sorted(vars(module)), *getattr(vars(module).get("_diffusers_hook"), "hooks", ()), str(module.forward)]
        for part in pipe.components.values()
        if isinstance(part, torch.nn.Module)
        for name, module in part.named_modules()
    }


@cache
def pipeline(name: str) -> tuple[Any, np.ndarray]:
    """A pipeline, and its plain latents."""
    pipe = families.FAMILIES[name]()
    return pipe, run(pipe, name)


@dataclass
class Result:
    """What one cache did to one family."""

    cached: np.ndarray
    again: np.ndarray
    skipped: dict[str, int]
    calls_per_forward: dict[str, int]
    traces: tuple[dict[str, list[str]], dict[str, list[str]]]


@cache
def result(plugin: str, name: str) -> Result:
    """Two runs with a cache."""
    pipe, _ = pipeline(name)
    before = footprint(pipe)
    with genkit.apply(pipe, PLUGINS[plugin]) as handle:
        cached = run(pipe, name)
        skipped, calls = dict(handle.session.run.skipped), dict(handle.session.run.calls_per_forward)
        again = run(pipe, name)
    return Result(cached, again, skipped, calls, (before, footprint(pipe)))


@pytest.mark.parametrize(("plugin", "name"), EVERY)
def test_the_same_bits_as_diffusers_by_hand(plugin: str, name: str) -> None:
    pipe, plain = pipeline(name)
    cached = result(plugin, name).cached
    pipe.transformer.enable_cache(config(plugin, name, pipe))
    by_hand = run(pipe, name)
    pipe.transformer.disable_cache()
    assert np.array_equal(cached, by_hand)
    assert np.isfinite(cached).all() and not np.array_equal(cached, plain)


@pytest.mark.parametrize(("plugin", "name"), EVERY)
def test_a_second_run_begins_empty(plugin: str, name: str) -> None:
    assert np.array_equal(result(plugin, name).cached, result(plugin, name).again)


@pytest.mark.parametrize("plugin", PLUGINS)
def test_a_list_of_hooks_that_diffusers_kept_from_an_earlier_run_is_made_anew(
    plugin: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Up to 0.41 nothing made diffusers look again: the cache's hooks were never told their guidance branch."""
    want = result(plugin, "wan").cached
    monkeypatch.setattr(
        diffusers.hooks.HookRegistry, "invalidate_child_registries_cache", lambda registry: None, raising=False
    )
    pipe = families.FAMILIES["wan"]()
    plain = run(pipe, "wan")
    with genkit.apply(pipe, PLUGINS[plugin]):
        assert np.array_equal(run(pipe, "wan"), want)
    pipe.transformer.enable_cache(config(plugin, "wan", pipe))
    assert np.array_equal(run(pipe, "wan"), want)
    pipe.transformer.disable_cache()
    assert np.array_equal(run(pipe, "wan"), plain)


@pytest.mark.parametrize(("plugin", "name"), EVERY)
def test_nothing_stays_behind(plugin: str, name: str) -> None:
    before, after = result(plugin, name).traces
    assert before == after


@pytest.mark.parametrize("name", FAMILIES)
def test_the_pipeline_computes_as_before(name: str) -> None:
    for plugin in PLUGINS:
        result(plugin, name)
    pipe, plain = pipeline(name)
    assert np.array_equal(run(pipe, name), plain)


@pytest.mark.parametrize(("plugin", "name"), EVERY)
def test_the_record_counts_what_was_skipped(plugin: str, name: str) -> None:
    found = result(plugin, name)
    calls = 2 if name == "mochi" else 1
    assert set(found.calls_per_forward.values()) == {calls}
    expected = {
        key: calls * skipped_forwards(plugin, key.removeprefix("transformer.")) for key in found.calls_per_forward
    }
    assert found.skipped == expected


@pytest.mark.parametrize(("plugin", "name"), EVERY)
def test_a_setting_that_never_skips_changes_no_bit(plugin: str, name: str) -> None:
    pipe, plain = pipeline(name)
    with genkit.apply(pipe, IDLE[plugin]) as handle:
        assert np.array_equal(run(pipe, name), plain)
        assert set(handle.session.run.skipped.values()) == {0}


@pytest.mark.parametrize(("plugin", "name"), EVERY)
def test_a_pair_with_sparse_attention(plugin: str, name: str) -> None:
    """The same as diffusers' cache switched on by hand inside sparse attention."""
    pipe, plain = pipeline(name)
    with genkit.apply(pipe, RADIAL, PLUGINS[plugin]) as handle:
        both = run(pipe, name)
        record = handle.session.run
    with genkit.apply(pipe, RADIAL):
        pipe.transformer.enable_cache(config(plugin, name, pipe))
        by_hand = run(pipe, name)
        pipe.transformer.disable_cache()
        sparse = run(pipe, name)
    assert np.array_equal(both, by_hand)
    for other in (plain, sparse, result(plugin, name).cached):
        assert not np.array_equal(both, other)
    assert min(map(float, record.densities["radial"])) < 1
    assert record.skipped == result(plugin, name).skipped


@pytest.mark.parametrize("name", ["wan", "hunyuan"])
def test_branches_do_not_answer_for_one_another(name: str) -> None:
    """With the prompt as its own negative, guidance changes nothing: any scale gives what no guidance gives."""
    pipe, _ = pipeline(name)
    scale = {"guidance_scale": 5.0} if name == "wan" else {"true_cfg_scale": 2.0}
    alone = result("pab", name)
    with genkit.apply(pipe, PLUGINS["pab"]) as handle:
        guided = run(pipe, name, negative_prompt=families.PROMPT, **scale)
        assert sum(handle.session.run.skipped.values()) == 2 * sum(alone.skipped.values())
    assert np.array_equal(guided, alone.cached)


def interrupt(*_: Any) -> dict[str, Any]:
    raise KeyboardInterrupt


@pytest.mark.parametrize("plugin", list(PLUGINS))
def test_an_interrupted_run_leaves_nothing_for_the_next(plugin: str) -> None:
    pipe, _ = pipeline("wan")
    whole = result(plugin, "wan").cached
    with genkit.apply(pipe, PLUGINS[plugin]):
        with pytest.raises(KeyboardInterrupt):
            run(pipe, "wan", callback_on_step_end=interrupt)
        assert np.array_equal(run(pipe, "wan"), whole)


@pytest.mark.parametrize("plugin", list(PLUGINS))
def test_an_exception_inside_the_block_leaves_no_trace(plugin: str) -> None:
    pipe, plain = pipeline("wan")
    before = footprint(pipe)
    with pytest.raises(KeyboardInterrupt), genkit.apply(pipe, PLUGINS[plugin], RADIAL):
        run(pipe, "wan", callback_on_step_end=interrupt)
    assert footprint(pipe) == before
    assert np.array_equal(run(pipe, "wan"), plain)


def test_a_pipeline_that_never_ran_is_left_as_it_was() -> None:
    pipe = families.FAMILIES["wan"]()
    before = footprint(pipe)
    for plugin in PLUGINS.values():
        genkit.apply(pipe, plugin).remove()
        assert footprint(pipe) == before


@pytest.mark.parametrize("plugin", ["pab", "first-block-cache", "taylor-seer"])
def test_both_experts_are_cached(plugin: str) -> None:
    pipe = families.FAMILIES["wan22"]()
    plain = run(pipe, "wan22", num_inference_steps=6)
    with genkit.apply(pipe, PLUGINS[plugin]) as handle:
        assert not np.array_equal(run(pipe, "wan22", num_inference_steps=6), plain)
        skipped = handle.session.run.skipped
    for model in ("transformer", "transformer_2"):
        assert any(calls for layer, calls in skipped.items() if layer.startswith(f"{model}."))
    assert np.array_equal(run(pipe, "wan22", num_inference_steps=6), plain)


def test_attention_to_the_text_is_cached_where_it_is_asked_for() -> None:
    pipe, _ = pipeline("wan")
    plugin = PyramidAttentionBroadcast(
        spatial_attention_block_skip_range=None,
        cross_attention_block_skip_range=4,
        cross_attention_timestep_skip_range=ALWAYS,
    )
    with genkit.apply(pipe, plugin) as handle:
        run(pipe, "wan")
        assert {key[-1]: calls for key, calls in handle.session.run.skipped.items()} == {"1": 0, "2": 3}


def test_pab_computes_outside_its_timesteps() -> None:
    pipe, plain = pipeline("wan")
    with genkit.apply(pipe, PyramidAttentionBroadcast(spatial_attention_timestep_skip_range=(0, 1))):
        assert np.array_equal(run(pipe, "wan"), plain)


def test_measured_ratios_are_those_that_diffusers_prints(capsys: pytest.CaptureFixture[str]) -> None:
    pipe, plain = pipeline("wan")
    pipe.transformer.enable_cache(diffusers.hooks.MagCacheConfig(calibrate=True, num_inference_steps=STEPS))
    run(pipe, "wan")
    pipe.transformer.disable_cache()
    printed = re.findall(r"[\d.]+", capsys.readouterr().out.split("[", 2)[2])
    with genkit.apply(pipe, MagCache(calibrate=True)) as handle:
        assert np.array_equal(run(pipe, "wan"), plain)
        (note,) = handle.session.run.notes
    text = note.rpartition("mag_ratios=")[2]
    assert capsys.readouterr().out == ""
    assert make(MagCache, {"mag_ratios": text}).mag_ratios == pytest.approx([float(r) for r in printed], abs=1e-5)


def test_ratios_are_stretched_over_the_steps_of_the_run() -> None:
    """Half of the error budget of ratio 0.9 a step: with 2 ratios for 4 steps the second half has it."""
    pipe, plain = pipeline("wan")
    plugin = MagCache(mag_ratios=(1.0, 0.5), threshold=0.1, retention_ratio=0)
    with genkit.apply(pipe, plugin) as handle:
        assert not np.array_equal(run(pipe, "wan"), plain)
        # Ratios 1, 1, 0.5, 0.5: the first step has nothing to reuse, the second repeats it, the others err too much.
        assert set(handle.session.run.skipped.values()) == {1}
        run(pipe, "wan", num_inference_steps=6)
        assert set(handle.session.run.skipped.values()) == {2}


def test_taylor_seers_lite_mode_skips_whole_blocks() -> None:
    pipe, _ = pipeline("ltx")
    with genkit.apply(pipe, TaylorSeer(cache_interval=2, disable_cache_before_step=1, use_lite_mode=True)) as handle:
        lite = run(pipe, "ltx")
        assert set(handle.session.run.skipped.values()) == {2}
    pipe.transformer.enable_cache(
        diffusers.hooks.TaylorSeerCacheConfig(cache_interval=2, disable_cache_before_step=1, use_lite_mode=True)
    )
    by_hand = run(pipe, "ltx")
    pipe.transformer.disable_cache()
    assert np.array_equal(lite, by_hand)


def test_the_receipt_says_what_was_skipped() -> None:
    pipe, _ = pipeline("wan")
    sizes = families.sizes("wan") | {"num_inference_steps": STEPS}
    with genkit.apply(pipe, PLUGINS["pab"]) as handle:
        video = handle.generate(families.PROMPT, seed=1, **sizes)
    skipped = video.receipt.attention.skipped["transformer"]
    assert (skipped.calls, skipped.of) == (2 * 2 * 3, 2 * STEPS * 6)
    assert skipped.layers["blocks.0.attn1"] == 4 and skipped.layers["blocks.0.attn2"] == 0
    assert video.receipt.plugins == ("pab:spatial_attention_timestep_skip_range=-1x1001",)
    assert "skipped    12 of 48 attention calls of transformer, in 3 layers: a step cache" in str(video.receipt)
    assert not genkit.generate(pipe, families.PROMPT, seed=1, **sizes).receipt.attention.skipped


def test_a_users_own_cache_is_counted_and_kept() -> None:
    pipe = families.FAMILIES["wan"]()
    pipe.transformer.enable_cache(config("first-block-cache", "wan", pipe))
    alone = run(pipe, "wan")
    with genkit.apply(pipe) as handle:
        assert np.array_equal(run(pipe, "wan"), alone)
        assert handle.session.run.skipped == result("first-block-cache", "wan").skipped
    assert pipe.transformer.is_cache_enabled
    assert np.array_equal(run(pipe, "wan"), alone)


@pytest.mark.parametrize("plugin", list(PLUGINS))
def test_a_second_cache_is_refused(plugin: str) -> None:
    pipe = families.FAMILIES["wan"]()
    pipe.transformer.enable_cache(config("first-block-cache", "wan", pipe))
    before = footprint(pipe)
    match = rf"{plugin}: the transformer of this pipeline already has a cache \(FirstBlockCacheConfig\); call pipe"
    with pytest.raises(genkit.UsageError, match=match):
        genkit.apply(pipe, PLUGINS[plugin])
    assert footprint(pipe) == before


def test_a_cache_that_was_put_in_without_the_model_knowing_is_refused() -> None:
    pipe = families.FAMILIES["wan"]()
    diffusers.hooks.apply_first_block_cache(pipe.transformer, config("first-block-cache", "wan", pipe))
    with pytest.raises(genkit.UsageError, match=r"already has a cache \(FBCHeadBlockHook\)"):
        genkit.apply(pipe, PLUGINS["taylor-seer"])


@pytest.mark.parametrize("plugin", list(PLUGINS))
@pytest.mark.parametrize(("name", "model"), [("animatediff", "UNetMotion"), ("text_to_video_sd", "UNet3DCondition")])
def test_unets_are_refused(plugin: str, name: str, model: str) -> None:
    pipe = families.FAMILIES[name]()
    before = footprint(pipe)
    with pytest.raises(
        genkit.UsageError, match=f"{plugin} needs a transformer.* has a {model}Model; leave {plugin} out"
    ):
        genkit.apply(pipe, PLUGINS[plugin])
    assert footprint(pipe) == before


def test_a_block_that_diffusers_does_not_know_is_refused() -> None:
    pipe = families.FAMILIES["wan"]()

    class Block(torch.nn.Identity):
        pass

    pipe.transformer.blocks.append(Block())
    before = footprint(pipe)
    with pytest.raises(genkit.UsageError, match="first-block-cache: diffusers cannot cache the transformer.*Block"):
        genkit.apply(pipe, FirstBlockCache())
    assert footprint(pipe) == before


def test_a_model_of_one_block_is_refused() -> None:
    pipe = families.FAMILIES["wan"]()
    pipe.transformer.blocks = pipe.transformer.blocks[:1]
    with pytest.raises(
        genkit.UsageError, match="a WanTransformer3DModel .it has fewer than two blocks.; leave first-b"
    ):
        genkit.apply(pipe, FirstBlockCache())


def test_mag_cache_refuses_two_experts() -> None:
    with pytest.raises(genkit.UsageError, match="mag-cache counts the steps of one model, and Wan 2.2 uses another"):
        genkit.apply(families.FAMILIES["wan22"](), PLUGINS["mag-cache"])


@pytest.mark.parametrize("name", ["hunyuan", "cogvideox", "ltx", "mochi"])
def test_attention_to_the_text_is_refused_where_diffusers_knows_none(name: str) -> None:
    pipe, _ = pipeline(name)
    with pytest.raises(genkit.UsageError, match="pab: cross_attention_block_skip_range=2 has no effect on "):
        genkit.apply(pipe, PyramidAttentionBroadcast(cross_attention_block_skip_range=2))


@pytest.mark.parametrize(
    ("cls", "values", "message"),
    [
        (PyramidAttentionBroadcast, {"spatial_attention_block_skip_range": None}, "are both None; give one of them"),
        (PyramidAttentionBroadcast, {"spatial_attention_block_skip_range": 0}, "skip_range=0 must be at least 1"),
        (PyramidAttentionBroadcast, {"cross_attention_timestep_skip_range": "8x8"}, "=8x8 must be two timesteps"),
        (FirstBlockCache, {"threshold": -0.1}, "first-block-cache: threshold=-0.1 must be at least 0"),
        (MagCache, {}, "mag-cache needs mag_ratios.*mag-cache:calibrate=true"),
        (MagCache, {"mag_ratios": "1x1", "calibrate": True}, "from its receipt, without calibrate"),
        (MagCache, {"mag_ratios": "1x0x1"}, "mag_ratios contains 0.0; all must be finite numbers above 0"),
        (MagCache, {"mag_ratios": "1", "retention_ratio": 2}, r"retention_ratio=2.0 is a share.*in \[0, 1\]"),
        (MagCache, {"mag_ratios": "1", "max_skip_steps": -1}, "max_skip_steps=-1 must be at least 0"),
        (TaylorSeer, {"disable_cache_before_step": 0}, "disable_cache_before_step=0 must be at least 1"),
        (TaylorSeer, {"cache_interval": 0}, "cache_interval=0 must be at least 1"),
        (TaylorSeer, {"max_order": -1}, "max_order=-1 must be at least 0"),
    ],
)
def test_mistakes_get_a_sentence(cls: Any, values: dict[str, Any], message: str) -> None:
    with pytest.raises(genkit.UsageError, match=message):
        make(cls, values)


def test_a_number_format_that_is_none_is_refused() -> None:
    with pytest.raises(genkit.UsageError, match="taylor_factors_dtype='int8' must be 'bfloat16', 'float16' or"):
        TaylorSeer(taylor_factors_dtype="int8")  # type: ignore[arg-type]


def test_an_older_diffusers_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(diffusers.hooks, "MagCacheConfig")
    pipe, _ = pipeline("wan")
    with pytest.raises(genkit.UsageError, match="has no MagCacheConfig; install diffusers 0.42 or newer"):
        genkit.apply(pipe, PLUGINS["mag-cache"])


def test_first_block_cache_says_that_a_batch_is_decided_together() -> None:
    pipe = families.FAMILIES["wan"]()
    with genkit.apply(pipe, FirstBlockCache()) as handle:
        for videos, notes in ((1, 0), (2, 1)):
            pipe(**families.call_arguments("wan", num_videos_per_prompt=videos))
            assert len(handle.session.run.notes) == notes
    assert "first-block-cache: the 2 videos of the batch skip the same steps" in handle.session.run.notes[0]
