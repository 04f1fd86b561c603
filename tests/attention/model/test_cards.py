"""Facts of a model come from its configuration: what names cannot tell apart, the numbers there do."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import families
import numpy as np
import pytest
import torch

import genkit
from genkit.attention.calls.call import Call
from genkit.attention.facts.volume import patch_of
from genkit.benchmarks.timing.real_models import MODELS
from genkit.errors import UsageError
from genkit.pipelines.known import pipelines
from genkit.pipelines.matching import card_of

BUILT = families.FAMILIES | families.VARIANTS


@pytest.fixture(scope="module")
def pipes() -> dict[str, Any]:
    return {name: build() for name, build in BUILT.items()}


def facts(pipe: Any) -> tuple[str, int, float, int, int]:
    card = card_of(pipe)
    return card.title, card.native_frames, card.fps, card.stride(pipe), card.frame_step(pipe)


def test_the_configuration_tells_the_checkpoint(pipes: dict[str, Any]) -> None:
    assert facts(pipes["wan"]) == ("Wan 2.1", 81, 16, 4, 4)
    assert facts(pipes["wan22"]) == ("Wan 2.2", 81, 16, 4, 4)
    assert facts(pipes["wan22_5b"]) == ("Wan 2.2 TI2V-5B", 121, 24, 4, 4)
    assert facts(pipes["cogvideox"]) == ("CogVideoX", 49, 8, 4, 8)
    assert facts(pipes["cogvideox15"]) == ("CogVideoX 1.5", 81, 16, 8, 8)


@pytest.mark.parametrize(
    ("name", "part", "key", "value"),
    [
        ("wan", None, "expand_timesteps", True),
        ("wan", "transformer", "in_channels", 48),
        ("wan", None, "vae_scale_factor_spatial", 16),
    ],
)
def test_each_mark_of_the_5b_model_is_enough(name: str, part: str | None, key: str, value: Any) -> None:
    pipe = BUILT[name]()
    if key == "vae_scale_factor_spatial":
        pipe.vae_scale_factor_spatial = value
    else:
        (getattr(pipe, part) if part else pipe).register_to_config(**{key: value})
    assert facts(pipe)[:3] == ("Wan 2.2 TI2V-5B", 121, 24)


@pytest.mark.parametrize("name", BUILT)
def test_neither_a_subclass_nor_a_compiled_part_changes_a_fact(name: str) -> None:
    pipe = BUILT[name]()
    before, steps = card_of(pipe), card_of(pipe).size_steps(pipe)
    pipe.__class__ = type("Mine", (type(pipe),), {})
    for part in (*before.components, "vae"):
        if getattr(pipe, part, None) is not None:
            setattr(pipe, part, torch.compile(getattr(pipe, part), backend="eager"))
    assert card_of(pipe) == before and card_of(pipe).size_steps(pipe) == steps


def test_the_embedded_model_is_known_by_a_renamed_and_compiled_autoencoder() -> None:
    pipe = genkit.load("tiny")
    pipe.vae.__class__ = type("Renamed", (type(pipe.vae),), {})
    pipe.vae = torch.compile(pipe.vae, backend="eager")
    assert card_of(pipe).family == "tiny"


def test_an_expert_that_was_left_out_does_not_make_another_model() -> None:
    pipe = BUILT["wan22"]()
    pipe.transformer = None
    card = card_of(pipe)
    assert (card.title, card.stride(pipe), card.size_steps(pipe)) == ("Wan 2.2", 4, (16, 16))


def test_a_checkpoint_trained_on_longer_clips_says_so() -> None:
    pipe = BUILT["cogvideox"]()
    pipe.transformer.register_to_config(sample_frames=97, use_rotary_positional_embeddings=False)
    assert (card_of(pipe).native_frames, card_of(pipe).positions.making) == (97, "patch sinusoid")
    motion = BUILT["animatediff"]()
    motion.unet.register_to_config(motion_max_seq_length=12)
    assert card_of(motion).native_frames == 12


def seen(pipe: Any, *plugins: Any, **changes: Any) -> tuple[Any, list[Call]]:
    """A video and the calls of its attention over all frames."""
    calls: list[Call] = []
    with genkit.apply(pipe, *plugins) as handle:
        kind = "joint" if "joint" in handle.card.kinds else "self"
        inner = handle.session.attends[kind]

        def spy(q: Any, k: Any, v: Any, call: Call) -> Any:
            assert q.shape[2] == call.grid.tokens
            calls.append(call)
            return inner(q, k, v, call)

        handle.session.attends[kind] = spy
        video = handle.generate("a red circle moves right", seed=3, **changes)
    return video, calls


@pytest.mark.parametrize(("name", "frames"), [("cogvideox15", n) for n in (9, 17, 25)] + [("wan22_5b", 17)])
def test_token_frames_last_as_long_as_the_video(name: str, frames: int) -> None:
    asked = families.sizes(name) | {"num_frames": frames}
    pipe = BUILT[name]()
    video, calls = seen(pipe, **asked)
    grid = calls[0].grid
    assert len(video.frames) == frames == grid.pixel_frames
    assert grid.seconds(grid.frames - 1)[1] == frames / video.fps
    assert grid.frames == card_of(pipe).token_frames(pipe, frames)
    assert grid.native_frames == {"cogvideox15": 11, "wan22_5b": 31}[name]


def test_windows_act_beyond_the_training_length_of_a_model_with_time_patches() -> None:
    pipe = BUILT["cogvideox15"]()
    asked = families.sizes("cogvideox15") | {"height": 32, "width": 32}
    inside, _ = seen(pipe, num_frames=81, **{k: v for k, v in asked.items() if k != "num_frames"})
    same, _ = seen(pipe, genkit.FreeNoise(), **asked | {"num_frames": 81})
    assert np.array_equal(inside.frames, same.frames)
    plain, _ = seen(pipe, **asked | {"num_frames": 97})
    windowed, calls = seen(pipe, genkit.FreeNoise(), **asked | {"num_frames": 97})
    assert {call.grid.frames for call in calls} == {13}, "the rule sees the whole video"
    assert windowed.receipt.attention.backends["dense (windowed)"] > 0
    assert not np.array_equal(plain.frames, windowed.frames)


def test_noise_is_planned_in_the_frames_that_attention_counts() -> None:
    """The two latent frames of a token move together, and a window of noise is a window of attention."""
    pipe = BUILT["cogvideox15"]()
    asked: dict[str, Any] = {
        "batch_size": 1, "num_channels_latents": 4, "num_frames": 45, "height": 48, "width": 64,
        "dtype": torch.float32, "device": "cpu",
    }  # fmt: skip
    plain = pipe.prepare_latents(**asked, generator=torch.Generator().manual_seed(1))
    with genkit.apply(pipe, genkit.FreeNoise(window=3, stride=1)):
        planned = pipe.prepare_latents(**asked, generator=torch.Generator().manual_seed(1))
    assert plain.shape == planned.shape == (1, 12, 4, 6, 8)
    assert torch.equal(planned[:, :6], plain[:, :6]) and torch.equal(planned[:, 6:], plain[:, :6])


@pytest.mark.parametrize("name", BUILT)
def test_a_size_that_would_be_cut_or_would_stop_the_model_is_refused_with_the_nearest(
    pipes: dict[str, Any], name: str
) -> None:
    pipe, asked = pipes[name], families.sizes(name)
    steps = dict(zip(("height", "width"), card_of(pipe).size_steps(pipe), strict=True))
    for key, unit in steps.items():
        wrong = asked[key] + unit // 2
        with pytest.raises(UsageError, match=rf"{key}={wrong}: .* multiples of {unit}; the nearest is \d+"):
            genkit.generate(pipe, "a red circle", **asked | {key: wrong})


@pytest.mark.parametrize("name", BUILT)
def test_sizes_that_are_allowed_are_made(pipes: dict[str, Any], name: str) -> None:
    pipe, asked = pipes[name], families.sizes(name)
    down, right = card_of(pipe).size_steps(pipe)
    asked |= {"height": asked["height"] - down, "width": asked["width"] - right}
    video = genkit.generate(pipe, "a red circle", **asked)
    assert video.frames.shape[1:3] == (asked["height"], asked["width"])


def test_a_size_beyond_the_positions_is_refused_before_the_run() -> None:
    pipe = BUILT["cogvideox15"]()
    with pytest.raises(UsageError, match="height=64: the positions of this CogVideoX 1.5 model end at 48 rows"):
        genkit.generate(pipe, "a red circle", **families.sizes("cogvideox15") | {"height": 64})


def test_checkpoints_of_one_family_end_with_the_one_that_takes_all() -> None:
    """A checkpoint behind one that takes all would never be found."""
    for facts in pipelines():
        takes_all = [one.when(SimpleNamespace()) for one in facts.published]
        assert takes_all == [False] * (len(takes_all) - 1) + [True] * bool(takes_all), facts.name


def test_published_models_are_as_long_as_their_cards_say() -> None:
    for model in MODELS.values():
        assert model.volume[0] == model.grid.native_frames, model.name
        assert f"{model.published.native_frames} frames" in model.title


def test_a_benchmark_model_with_time_patches_counts_them() -> None:
    model = replace(MODELS["cogvideox"], family="cogvideox1.5", volume=(11, 48, 85), config={"patch_size_t": 2})
    assert (model.grid.stride, model.grid.native_frames, model.grid.pixel_frames) == (8, 11, 81)


def test_patches_are_read_in_every_form() -> None:
    def model(**config: Any) -> Any:
        return SimpleNamespace(config=SimpleNamespace(**config))

    assert patch_of(model(patch_size=(1, 2, 3))) == (1, 2, 3) == patch_of(model(patch_size=[1, 2, 3]))
    assert patch_of(model(patch_size=2)) == (1, 2, 2) == patch_of(model(patch_size=2, patch_size_t=None))
    assert patch_of(model(patch_size=2, patch_size_t=4)) == (4, 2, 2)
    assert patch_of(model()) == (1, 1, 1) == patch_of(None)
