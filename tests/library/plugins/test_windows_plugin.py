"""Windows: what windows of each family's model predict, fused as by hand; one plan, one memory, one clock a window."""

import re
from collections import Counter
from types import SimpleNamespace
from unittest import mock

import families
import numpy as np
import pytest
import torch
from sparse_settings import short_native
from tree import TOP

import genkit
from genkit.attention.planners import adaspa
from genkit.errors import GenkitError, UsageError
from genkit.pipelines.matching import card_of
from genkit.plugins.caches.methods import FirstBlockCache, MagCache, PyramidAttentionBroadcast, TaylorSeer
from genkit.plugins.contract import Target
from genkit.schedulers.windows import window_shares, windows_over

EVERY = families.FAMILIES | families.VARIANTS
LONG = {"cogvideox15": 41}
"""Pixel frames of a clip that is longer than three token frames where the usual one is not."""
ALWAYS = (-1, 1001)
TARGET = Target(family="f", title="Some Model", native_frames=9, kinds=frozenset({"self"}), longest=12)


@pytest.fixture
def short():
    """A training length of three latent frames in every family."""
    with mock.patch("genkit.generation.context.card_of", short_native):
        yield


def run(pipe, name, **changes):
    length = {"num_frames": LONG[name]} if name in LONG else {}
    return np.asarray(pipe(**families.call_arguments(name, **length | changes)).frames)


def in_windows(forward, slices):
    """A model's forward by hand: ``slices`` gives the arguments of a window, and the axis of the frames."""

    def by_hand(**given):
        latents = given.get("hidden_states", given.get("sample"))
        frames, cut, axis = slices(given)
        windows = windows_over(frames, 3, 1)
        total = torch.zeros_like(latents)
        for share, window in zip(window_shares(windows), windows, strict=True):
            (out,) = forward(**{**given, **cut(window), "return_dict": False})
            per = total.shape[axis] // frames
            weight = share[window.begin : window.end].float().repeat_interleave(per)
            shape = [1] * total.ndim
            shape[axis] = -1
            place = total.narrow(axis, window.begin * per, out.shape[axis])
            place += weight.view(shape) * out
        return (total,) if given.get("return_dict") is False else SimpleNamespace(sample=total)

    return by_hand


def wan(given):
    x = given["hidden_states"]
    return x.shape[2], lambda w: {"hidden_states": x[:, :, w.begin : w.end]}, 2


def wan_by_token(given):
    x, levels = given["hidden_states"], given["timestep"]
    size = levels.shape[1] // x.shape[2]
    return (
        x.shape[2],
        lambda w: {
            "hidden_states": x[:, :, w.begin : w.end],
            "timestep": levels[:, w.begin * size : w.end * size],
        },
        2,
    )


def cogvideox(given):
    x, tables = given["hidden_states"], given["image_rotary_emb"]
    patch = 2 if len(tables[0]) * 4 < x.shape[1] * x.shape[3] * x.shape[4] else 1
    frames = x.shape[1] // patch
    tokens = len(tables[0]) // frames
    return (
        frames,
        lambda w: {
            "hidden_states": x[:, w.begin * patch : w.end * patch],
            "image_rotary_emb": tuple(table[: (w.end - w.begin) * tokens] for table in tables),
        },
        1,
    )


def ltx(given):
    x, frames = given["hidden_states"], given["num_frames"]
    size = x.shape[1] // frames
    return (
        frames,
        lambda w: {"hidden_states": x[:, w.begin * size : w.end * size], "num_frames": w.end - w.begin},
        1,
    )


def unet(given):
    x, text = given["sample"], given["encoder_hidden_states"]

    def cut(w):
        mine = text
        if len(text) == len(x) * x.shape[2]:
            mine = text.view(len(x), x.shape[2], *text.shape[1:])[:, w.begin : w.end].flatten(0, 1)
        return {"sample": x[:, :, w.begin : w.end], "encoder_hidden_states": mine}

    return x.shape[2], cut, 2


BY_HAND = {
    "wan": wan,
    "wan22": wan,
    "wan22_5b": wan_by_token,
    "hunyuan": wan,
    "mochi": wan,
    "cogvideox": cogvideox,
    "cogvideox15": cogvideox,
    "ltx": ltx,
    "animatediff": unet,
    "text_to_video_sd": unet,
}


def positional(model, by_hand):
    """UNets are given the latents and the timestep without names."""

    def forward(*args, **given):
        return by_hand(**dict(zip(("sample", "timestep"), args, strict=False)), **given)

    return forward


@pytest.mark.parametrize("name", list(EVERY))
def test_it_is_the_windows_by_hand_one_window_changes_nothing_and_nothing_stays(short, name):
    pipe = EVERY[name]()
    plain = run(pipe, name)
    with genkit.apply(pipe, genkit.Windows()) as handle:
        long = run(pipe, name)
        notes, calls = handle.session.run.notes, sum(handle.session.run.routed.values())
    with genkit.apply(pipe) as handle:
        run(pipe, name)
        usual = sum(handle.session.run.routed.values())
    with mock.patch("genkit.generation.context.card_of", card_of), genkit.apply(pipe, genkit.Windows()) as handle:
        assert np.array_equal(run(pipe, name), plain)
        assert "fit into one window" in handle.session.run.notes[0]
    assert np.array_equal(run(pipe, name), plain)
    windows = int(notes[0].split(" calls, on windows of 3")[0].split()[-1])
    assert windows > 1 and calls == windows * usual and not np.array_equal(long, plain)
    for part in ("transformer", "transformer_2", "unet"):
        if (model := getattr(pipe, part, None)) is not None:
            model.forward = positional(model, in_windows(model.forward, BY_HAND[name]))
    np.testing.assert_allclose(long, run(pipe, name), rtol=1e-3, atol=2e-4)


def test_adaspa_has_one_plan_a_window(short, monkeypatch):
    """The second window is not answered with the first one's mask."""
    planned = []
    plan = adaspa.AdaSpaPlanner.plan

    def counting(self, q, k, lse, here):
        planned.append(here.call)
        return plan(self, q, k, lse, here)

    monkeypatch.setattr(adaspa.AdaSpaPlanner, "plan", counting)
    sparse = genkit.AdaSpa(density=0.3, block=8, min_tokens=1, dense_steps=0, dense_layers=0, searches=())
    pipe = families.FAMILIES["wan"]()
    with genkit.apply(pipe, genkit.Windows(), sparse) as handle:
        run(pipe, "wan", num_inference_steps=3)
        found = handle.session.run.memory.found
    where = Counter((call.layer, call.step.branches, call.window.begin) for call in planned)
    assert set(where.values()) == {1} and {begin for _, _, begin in where} == {0, 1, 2} and len(where) == 3 * 2 * 3
    mine = {place: value[1] for (place, key), value in found.items() if key[-1] == "plan"}
    plans = [plan.keep for place, plan in mine.items() if place.layer == "blocks.1.attn1"]
    assert len(plans) == 6 and not all(torch.equal(plans[0], other) for other in plans)


@pytest.mark.parametrize("name", ["wan", "wan22", "hunyuan", "cogvideox", "ltx", "mochi"])
def test_a_cache_that_skips_nothing_changes_nothing(short, name):
    pipe = families.FAMILIES[name]()
    one = PyramidAttentionBroadcast(spatial_attention_block_skip_range=1, spatial_attention_timestep_skip_range=ALWAYS)
    outputs = []
    for plugins in ([], [one], [FirstBlockCache(threshold=0)], [TaylorSeer(cache_interval=1)]):
        with genkit.apply(pipe, genkit.Windows(), *plugins):
            outputs.append(run(pipe, name, num_inference_steps=3))
    assert all(np.array_equal(outputs[0], other) for other in outputs[1:])


@pytest.mark.parametrize(
    "cache",
    [
        PyramidAttentionBroadcast(spatial_attention_timestep_skip_range=ALWAYS),
        FirstBlockCache(threshold=9.0),
        MagCache(mag_ratios=(1.0, 1.02, 0.97, 0.99), threshold=9.0, max_skip_steps=1),
        TaylorSeer(cache_interval=2, disable_cache_before_step=1),
    ],
    ids=lambda cache: cache.name,
)
def test_a_cache_reuses_what_the_same_window_gave(short, cache):
    """Windows far apart do not overlap: each is the video of its own latents, made alone with the cache."""
    pipe = families.FAMILIES["wan"]()
    latents = torch.randn(1, 4, 6, 6, 8, generator=torch.Generator().manual_seed(0))
    with genkit.apply(pipe, genkit.Windows(stride=3), cache) as handle:
        both = run(pipe, "wan", num_frames=21, latents=latents, num_inference_steps=4)
        skipped = sum(handle.session.run.skipped.values())
    with genkit.apply(pipe, cache) as handle:
        alone = [
            run(pipe, "wan", num_frames=9, latents=part.contiguous(), num_inference_steps=4)
            for part in latents.split(3, dim=2)
        ]
        once = sum(handle.session.run.skipped.values())
    assert skipped == 2 * once > 0
    np.testing.assert_allclose(both, np.concatenate(alone, 2), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["wan", "ltx", "animatediff"])
def test_events_begin_at_the_asked_second_of_the_whole_video(short, name):
    """Each window stands in the clock of the whole video, in which the seconds of an event are."""
    pipe = families.FAMILIES[name]()
    seen = {}

    def watch(attend):
        def watched(q, k, v, call):
            if call.run.events is not None and call.step.branches != ("uncond",):
                spans = call.run.events.spans(call.whole)
                seen[call.grid.start] = (call.grid, call.whole, spans)
            return attend(q, k, v, call)

        return watched

    with genkit.apply(pipe, genkit.Windows(), genkit.Timeline(tail=0)) as handle:
        handle.session.attends["cross"] = watch(handle.session.attends["cross"])
        sizes = families.sizes(name)
        video = handle.generate([{"prompt": "a red circle", "end": 0.5}, "a blue square"], seed=1, **sizes)
    assert video.receipt.attention.backends["text routing"] > 0 and len(seen) > 1
    for begin, (grid, whole, spans) in seen.items():
        assert grid.start == begin and grid.frames == 3 and whole.start == 0 and whole.frames == max(seen) + 3
        assert spans[0] == (0.0, 0.5) and spans[1][1] == pytest.approx(whole.pixel_frames / whole.fps)
        assert grid.seconds(grid.start) == whole.seconds(begin)


@pytest.mark.parametrize(
    ("plugin", "sentence"),
    [
        ({"window": 4, "stride": 5}, "windows: stride=5 is more than window=4, so some frames would be in no window"),
        (
            {"window": 10},
            "windows: window=10 is more than the 9 latent frames that Some Model was trained on",
        ),
        (
            {"window": 13, "beyond_training": True},
            "window=13 is more than the 12 latent frames at which the positions",
        ),
        ({"stride": 10}, "windows: stride=10 is more than window=9"),
        ({"window": 1}, "windows: window=1 must be at least 2 latent frames"),
        ({"stride": 0}, "windows: stride=0 must be at least 1 latent frame"),
    ],
)
def test_bad_windows_are_refused_in_words(plugin, sentence):
    with pytest.raises(UsageError, match=sentence):
        genkit.Windows(**plugin).parts(TARGET)


def test_a_longer_window_is_allowed_where_it_is_asked_for():
    assert genkit.Windows(window=12, beyond_training=True).parts(TARGET).forward.max_frames == 12
    assert genkit.Windows().parts(TARGET).forward.stride == 4


def test_an_argument_whose_frames_are_not_known_is_refused_by_name(short):
    pipe = families.FAMILIES["animatediff"]()
    more = {"mid_block_additional_residual": torch.zeros(2 * 8, 64, 3, 4)}
    pipe.unet.register_forward_pre_hook(lambda unet, args, given: (args, given | more), with_kwargs=True)
    refused = pytest.raises(UsageError, match=r"\(mid_block_additional_residual\), which cannot be cut")
    with genkit.apply(pipe, genkit.Windows()) as handle, refused:
        handle.generate("a red circle", seed=1, **families.sizes("animatediff"))


def test_a_model_whose_passage_was_taken_out_is_an_error_not_a_video(short):
    pipe = families.FAMILIES["wan"]()
    with genkit.apply(pipe, genkit.Windows()) as handle:
        begin = handle.session.check_parts
        handle.session.check_parts = lambda: None
        del pipe.transformer.forward
        with pytest.raises(GenkitError, match="windows was asked for|whose beginning was not seen"):
            handle.generate("a red circle", seed=1, **families.sizes("wan"))
        handle.session.check_parts = begin
        assert "3 calls" in handle.generate("a red circle", seed=1, **families.sizes("wan")).receipt.notes[0]


def test_the_page_of_the_seam_runs(capsys):
    """Its only block of code, whose last comment is what is printed."""
    page = (TOP / "docs" / "seams" / "forward.md").read_text()
    (block,) = re.findall(r"```python\n(.*?)```", page, re.S)
    exec(compile(block, "docs/seams/forward.md", "exec"), {"__name__": "page"})  # noqa: S102
    assert capsys.readouterr().out.strip() == block.rpartition("# ")[2].strip()
