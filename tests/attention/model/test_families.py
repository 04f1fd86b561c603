"""The facts about diffusers' pipelines on which the hook and the model cards rely.

Nothing here imports genkit: a new version of diffusers that changes a fact fails here first.
"""

from collections import Counter
from collections.abc import Callable
from fnmatch import fnmatchcase
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from families import FAMILIES, call_arguments
from family_facts import EXPECTED, Expected
from family_watch import Seen, Watch, attention_modules
from torch import Tensor

NAMES = list(FAMILIES)


@pytest.fixture(scope="module")
def pipes() -> dict[str, Any]:
    """Every pipeline once."""
    return {name: build() for name, build in FAMILIES.items()}


@pytest.fixture(scope="module")
def watched(pipes: dict[str, Any]) -> Callable[[str], Watch]:
    """What one plain run of a pipeline did; its frames are ``watch.frames``. Each runs once."""

    @cache
    def run(name: str) -> Watch:
        with Watch(name, pipes[name]) as watch:
            watch.frames = generate(pipes[name], name)
        return watch

    return run


def generate(pipe: Any, name: str, **changes: Any) -> Any:
    """The frames of one small run."""
    return pipe(**call_arguments(name, **changes)).frames


def branches_of(expected: Expected, seen: Seen, turn: int) -> tuple[str, ...]:
    """Branches in the batch of call number ``turn`` of a layer."""
    branches = expected.branches[seen.forward % len(expected.branches)]
    return branches if expected.calls == 1 else (branches[turn],)


@pytest.mark.parametrize("name", NAMES)
def test_a_run_has_the_expected_shape_and_repeats_for_a_seed(
    pipes: dict[str, Any], watched: Callable[[str], Watch], name: str
) -> None:
    first = watched(name).frames
    assert tuple(first.shape) == EXPECTED[name].latents
    assert torch.isfinite(first).all()
    assert torch.equal(first, generate(pipes[name], name)), "the same seed, or watching left something behind"
    assert torch.equal(first, generate(FAMILIES[name](), name)), "a second pipeline has other weights"
    assert not torch.equal(first, generate(pipes[name], name, seed=8))


@pytest.mark.parametrize("name", NAMES)
def test_a_run_decodes_to_frames(pipes: dict[str, Any], name: str) -> None:
    video = generate(pipes[name], name, output_type="np")
    assert video.shape == EXPECTED[name].video
    assert np.isfinite(video).all() and video.std() > 0


@pytest.mark.parametrize("name", NAMES)
def test_both_texts_matter(pipes: dict[str, Any], watched: Callable[[str], Watch], name: str) -> None:
    plain = watched(name).frames
    assert not torch.equal(plain, generate(pipes[name], name, prompt="a zebra sings"))
    assert not torch.equal(plain, generate(pipes[name], name, negative_prompt="a zebra sings"))


@pytest.mark.parametrize("name", NAMES)
def test_every_attention_module_is_of_one_kind(pipes: dict[str, Any], name: str) -> None:
    expected = EXPECTED[name]
    for model in expected.steps:
        layers = attention_modules(getattr(pipes[name], model))
        for kind, patterns in [*expected.layers.items(), (None, expected.others)]:
            for pattern, count in patterns.items():
                assert sum(fnmatchcase(layer, pattern) for layer in layers) == count, pattern
            assert sum(expected.kind(layer) == kind for layer in layers) == sum(patterns.values())


@pytest.mark.parametrize("name", NAMES)
def test_calls_of_each_layer_in_each_forward(pipes: dict[str, Any], watched: Callable[[str], Watch], name: str) -> None:
    expected, watch = EXPECTED[name], watched(name)
    counted = Counter((seen.forward, seen.layer) for seen in watch.seen)
    wanted = {
        (forward, layer): 1 if expected.kind(layer) is None else expected.calls
        for forward, (model, _) in enumerate(watch.forwards)
        for layer in attention_modules(getattr(pipes[name], model))
    }
    assert counted == wanted


@pytest.mark.parametrize("name", NAMES)
def test_steps_and_models_of_the_forwards(pipes: dict[str, Any], watched: Callable[[str], Watch], name: str) -> None:
    expected, watch, scheduler = EXPECTED[name], watched(name), pipes[name].scheduler
    done = [(step, model) for model, steps in expected.steps.items() for step in steps for _ in expected.branches]
    assert [model for model, _ in watch.forwards] == [model for _, model in done]
    if hasattr(scheduler, "step_index"):
        # Nothing counts before the first solver step.
        assert [step or 0 for step in watch.steps] == [step for step, _ in done]
    else:
        times = [int(call["timestep"].flatten()[0]) for _, call in watch.forwards]
        assert times == [int(scheduler.timesteps[step]) for step, _ in done]


@pytest.mark.parametrize("name", NAMES)
def test_order_of_the_branches(pipes: dict[str, Any], watched: Callable[[str], Watch], name: str) -> None:
    expected = EXPECTED[name]
    off = {"true_cfg_scale": 1.0} if name == "hunyuan" else {"guidance_scale": 1.0}
    with Watch(name, pipes[name]) as alone:
        generate(pipes[name], name, **off)
    first = [arguments["encoder_hidden_states"] for _, arguments in watched(name).forwards[: len(expected.branches)]]
    order = [branch for branches in expected.branches for branch in branches]
    guided = dict(zip(order, torch.cat(first).chunk(2), strict=True))
    assert torch.equal(guided["cond"], alone.forwards[0][1]["encoder_hidden_states"])
    assert not torch.equal(guided["uncond"], guided["cond"])


@pytest.mark.parametrize("name", NAMES)
def test_shapes_at_the_attention_call(watched: Callable[[str], Watch], name: str) -> None:
    expected, watch = EXPECTED[name], watched(name)
    turns: Counter[tuple[int, str]] = Counter()
    for seen in watch.seen:
        turn = turns[seen.forward, seen.layer]
        turns[seen.forward, seen.layer] += 1
        if (kind := expected.kind(seen.layer)) is None:
            continue
        branches = branches_of(expected, seen, turn)
        rows, cols = level_of(expected, seen)
        place = rows * cols
        batch, tokens = {
            "self": (1, expected.frames * place),
            "joint": (1, expected.frames * place + expected.text_of(branches)),
            "spatial": (expected.frames, place),
            "temporal": (place, expected.frames),
            "cross": (expected.frames, place) if "spatial" in expected.layers else (1, expected.frames * place),
        }[kind]
        assert seen.query.shape[0] == len(branches) * batch and seen.query.shape[2] == tokens, seen.layer
        keys = expected.text_tokens if kind == "cross" else tokens
        assert seen.key.shape[0] == len(branches) * batch and seen.key.shape[2] == keys, seen.layer
        check_mask(expected.mask.get(kind), seen)


def level_of(expected: Expected, seen: Seen) -> tuple[int, int]:
    """Token rows and columns of a layer: the second level of a UNet, where its middle is too, has half of each."""
    inner = seen.layer.startswith(("down_blocks.1", "mid_block", "up_blocks.0"))
    return (expected.rows // 2, expected.cols // 2) if inner else (expected.rows, expected.cols)


def check_mask(written: str | None, seen: Seen) -> None:
    """A mask hides padded text and nothing else."""
    if written is None:
        assert seen.mask is None, seen.layer
        return
    assert seen.mask is not None and seen.mask.dtype is (torch.bool if written == "bool" else torch.float32)
    assert seen.mask.shape[2:] == (1, seen.key.shape[2])
    visible = seen.mask if written == "bool" else seen.mask == 0
    assert 0 < (~visible).sum() < visible.numel()


@pytest.mark.parametrize("name", NAMES)
def test_order_of_the_tokens(pipes: dict[str, Any], name: str) -> None:
    """Noise changed at one time and place changes the queries there most; a UNet's first convolution blurs it."""
    expected, there = EXPECTED[name], (3, 1, 2)
    pipe, calls = pipes[name], []
    draw = pipe.prepare_latents
    for added in (0.0, 5.0):
        pipe.prepare_latents = lambda *args, added=added: disturbed(name, draw(*args), added, *there)
        with Watch(name, pipe) as watch:
            generate(pipe, name)
        calls.append({kind: next(s for s in watch.seen if expected.kind(s.layer) == kind) for kind in expected.layers})
    del pipe.prepare_latents
    blur = 1 if "unet" in expected.steps else 0
    for kind, still in calls[0].items():
        change = (calls[1][kind].query - still.query).abs().sum((1, 3))
        frame, row, col = position(expected, kind, *divmod(int(change.argmax()), change.shape[1]))
        assert frame == there[0] and abs(row - there[1]) <= blur and abs(col - there[2]) <= blur, kind


def position(expected: Expected, kind: str, batch: int, token: int) -> tuple[int, int, int]:
    """Frame, row and column of a token."""
    place = expected.rows * expected.cols
    if kind == "joint" and expected.text_first:
        token -= expected.text_tokens
    if kind == "temporal":
        frame, token = token, batch % place
    elif "spatial" in expected.layers:
        frame = batch % expected.frames
    else:
        frame, token = divmod(token, place)
    return frame, *divmod(token, expected.cols)


def disturbed(name: str, latents: Tensor, added: float, frame: int, row: int, col: int) -> Tensor:
    """Latents with ``added`` at one token's place."""
    latents = latents.clone()
    if name == "ltx":
        latents[:, (frame * 3 + row) * 4 + col] += added
        return latents
    patch = 1 if name in ("animatediff", "text_to_video_sd") else 2
    rows, cols = slice(row * patch, (row + 1) * patch), slice(col * patch, (col + 1) * patch)
    by_frame = latents if name == "cogvideox" else latents.transpose(1, 2)
    by_frame[:, frame, :, rows, cols] += added
    return latents


@pytest.mark.parametrize(("name", "kind"), [(n, k) for n in NAMES for k in EXPECTED[n].layers])
def test_attention_of_every_kind_matters(
    pipes: dict[str, Any], watched: Callable[[str], Watch], name: str, kind: str
) -> None:
    with Watch(name, pipes[name], zero=kind):
        changed = generate(pipes[name], name)
    assert (watched(name).frames - changed).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("name", "asked", "made"), [(n, a, m) for n in NAMES for a, m in EXPECTED[n].pixel_frames.items()]
)
def test_what_becomes_of_a_number_of_frames(pipes: dict[str, Any], name: str, asked: int, made: int) -> None:
    video = generate(pipes[name], name, num_frames=asked, output_type="np")
    assert video.shape[1] == made


def test_animatediff_knows_32_frames_and_no_more(pipes: dict[str, Any]) -> None:
    with pytest.raises(RuntimeError, match="size of tensor a \\(33\\) must match the size of tensor b \\(32\\)"):
        generate(pipes["animatediff"], "animatediff", num_frames=33)
