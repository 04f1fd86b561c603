"""Plans of positions in every family: the tables that attention gets, against formulas written out in float64."""

import copy
from collections.abc import Callable, Iterator
from math import pi
from typing import Any

import accelerate
import families
import family_parts
import pytest
import torch
from torch import Tensor

import genkit
from genkit.attention.facts import positions as facts
from genkit.attention.facts.positions import PositionFacts
from genkit.errors import UsageError
from genkit.generation.models.positions import ADAPTERS
from genkit.pipelines.matching import card_of

TWICE = genkit.PositionInterpolation(factor=2.5)
SLOWER = genkit.RIFLEx(k=1, n_k=2)
FRAMES = {"ltx": 65, "mochi": 49, "cogvideox15": 129, "animatediff": 16}
"""Pixel frames of a clip that has 9 latent frames, or 16 to 17; one turn of the first frequency takes 6.3 of them."""


def cogvideox_2b() -> Any:
    """CogVideoX without rotary positions, as the 2B model is."""
    return families._cogvideox(use_rotary_positional_embeddings=False)


BUILT: dict[str, Callable[[], Any]] = {
    **{name: build for name, build in (families.FAMILIES | families.VARIANTS).items() if name != "text_to_video_sd"},
    "cogvideox2b": family_parts.seeded(cogvideox_2b),
}


@pytest.fixture(scope="module")
def pipes() -> dict[str, Any]:
    made = {name: build() for name, build in BUILT.items()}
    for module in made["animatediff"].unet.modules():
        if getattr(module, "pos_embed", None) is not None:  # begins at 0, which would hide everything in front of it
            torch.nn.init.normal_(module.attn1.to_out[0].weight, std=0.3)
    made["mochi"].transformer.pos_frequencies.data[0] *= 20  # so that some of them turn once in the clip
    return made


def arguments(name: str) -> dict[str, Any]:
    family = "cogvideox" if name == "cogvideox2b" else name
    return families.call_arguments(family, num_frames=FRAMES.get(name, 33))


def latents(pipe: Any, name: str) -> Tensor:
    made: Tensor = pipe(**arguments(name)).frames
    return made


# --- bit for bit ---


@pytest.mark.parametrize("name", BUILT)
def test_both_act_on_every_family_and_leave_no_trace(pipes: dict[str, Any], name: str) -> None:
    pipe = pipes[name]
    models = [getattr(pipe, part) for part in card_of(pipe).components if getattr(pipe, part, None) is not None]

    def traces() -> list[Any]:
        modules = [module for model in models for module in model.modules()]
        hooks = [len(module._forward_hooks) + len(module._forward_pre_hooks) for module in modules]
        return [hooks, [sorted(vars(module)) for module in modules]]

    plain, before = latents(pipe, name), traces()
    buffers = {key: value.clone() for model in models for key, value in model.named_buffers()}
    for plugin in (TWICE, SLOWER):
        with genkit.apply(pipe, plugin):
            changed = latents(pipe, name)
        assert torch.isfinite(changed).all() and not torch.equal(changed, plain), plugin.name
        assert torch.equal(latents(pipe, name), plain), plugin.name
    with genkit.apply(pipe, genkit.PositionInterpolation(factor=1)) as handle:
        assert torch.equal(latents(pipe, name), plain)
        assert any("own positions" in note and "changes nothing" in note for note in handle.session.run.notes)
    with genkit.apply(pipe, genkit.RIFLEx(n_k=99)):
        assert torch.equal(latents(pipe, name), plain)
    assert traces() == before
    assert all(torch.equal(buffers[key], value) for model in models for key, value in model.named_buffers())


# --- tables ---


class Table:
    """The rotary table that the first block of a model is given, and what the family makes it of."""

    def __init__(self, pipe: Any, name: str) -> None:
        self.pipe, self.name, self.model = pipe, name, pipe.transformer
        self.found: tuple[Tensor, Tensor] | None = None

    def taken(self, *plugins: Any) -> tuple[Tensor, Tensor]:
        """Cosines and sines ``[frames, tokens, ..., C]`` of the last forward, in float64."""
        lists = [part for part in ("blocks", "transformer_blocks") if hasattr(self.model, part)]
        handle = getattr(self.model, lists[0])[0].register_forward_pre_hook(self._see, with_kwargs=True)
        with genkit.apply(self.pipe, *plugins):
            latents(self.pipe, self.name)
        handle.remove()
        assert self.found is not None
        axis = {"wan": -3, "mochi": -3}.get(self.name.removesuffix("22_5b").removesuffix("22"), -2)
        cosines, sines = (x.movedim(axis, 0).double() for x in self.found)
        frames = card_of(self.pipe).token_frames(self.pipe, arguments(self.name)["num_frames"])
        return cosines.unflatten(0, (frames, -1)), sines.unflatten(0, (frames, -1))

    def _see(self, block: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        given = [*args, *kwargs.values()]
        (self.found,) = [x for x in given if isinstance(x, tuple) and len(x) == 2 and isinstance(x[0], Tensor)]


def own_frequencies(pipe: Any, name: str) -> tuple[Tensor, Tensor, list[int]]:
    """Inverse frequencies in time and angles at frame 0, one for each channel of time, and those channels."""
    config = pipe.transformer.config
    if name == "ltx":
        turns = torch.tensor([10000 ** (j / 9) * pi / 2 for j in range(10)], dtype=torch.float64)
        channels = [4 + 6 * j + half for j in range(10) for half in (0, 1)]  # 64 channels begin with four empty ones
        seconds = pipe.vae_temporal_compression_ratio / 25  # from frame to frame, of 20 in the coordinates
        return (2 * turns * seconds / 20).repeat_interleave(2), -turns.repeat_interleave(2), channels
    width, theta = {
        "hunyuan": (8, 256.0),
        "cogvideox": (32 // 4, 10000.0),
        "cogvideox15": (32 // 4, 10000.0),
    }.get(name, (32 - 4 * (32 // 6), 10000.0))
    assert config.attention_head_dim == 32
    turns = torch.tensor([theta ** (-2 * (c // 2) / width) for c in range(width)], dtype=torch.float64)
    return turns, torch.zeros(width).double(), list(range(width))


@pytest.mark.parametrize("name", ["wan", "wan22", "wan22_5b", "hunyuan", "cogvideox", "cogvideox15", "ltx"])
@pytest.mark.parametrize("plugin", [TWICE, SLOWER], ids=lambda plugin: plugin.name)
def test_time_has_its_own_channels(pipes: dict[str, Any], name: str, plugin: Any) -> None:
    table = Table(pipes[name], name)
    before, after = table.taken(), table.taken(plugin)
    frequencies, phases, channels = own_frequencies(pipes[name], name)
    positions = torch.arange(len(after[0]), dtype=torch.float64)
    if plugin is TWICE:
        positions = positions / 2.5
    else:
        fastest = frequencies.max()
        frequencies = torch.where(frequencies == fastest, 0.9 * 2 * pi / len(positions), frequencies)
    angles = phases + positions[:, None] * frequencies
    rest = [c for c in range(after[0].shape[-1]) if c not in channels]
    for old, new, exact in zip(before, after, (angles.cos(), angles.sin()), strict=True):
        exact = exact.view(len(exact), *[1] * (new.ndim - 2), -1).expand_as(new[..., channels])
        rounding = 8 * torch.finfo(torch.float32).eps * (1 + float(angles.abs().max()))
        torch.testing.assert_close(new[..., channels], exact, atol=rounding, rtol=0)
        assert torch.equal(new[..., rest], old[..., rest]), "rows and columns stay bit for bit"
        assert torch.equal(new[0], old[0]), "and so does the first frame"
        if plugin is SLOWER:
            others = [c for c, w in zip(channels, own_frequencies(pipes[name], name)[0], strict=True) if w != fastest]
            assert torch.equal(new[..., others], old[..., others]), "and so do all other frequencies"


@pytest.mark.parametrize("plugin", [TWICE, SLOWER], ids=lambda plugin: plugin.name)
def test_learned_frequencies_turn_every_channel_of_their_head(pipes: dict[str, Any], plugin: Any) -> None:
    pipe = pipes["mochi"]
    cosines, sines = Table(pipe, "mochi").taken(plugin)
    places = pipe.transformer.rope._get_positions(9, 3, 4, dtype=torch.float32).double()
    weights = pipe.transformer.pos_frequencies.detach().double()
    time = weights[0]
    if plugin is TWICE:
        places[:, 0] /= 2.5
    else:
        time = time.clone()
        for head in range(2):
            fastest = int(time[head].abs().argmax())
            time[head, fastest] = min(0.9 * 2 * pi / 9, abs(time[head, fastest])) * time[head, fastest].sign()
        assert not torch.equal(time, weights[0])
    angles = sum(places[:, axis, None, None] * part for axis, part in enumerate((time, weights[1], weights[2])))
    assert isinstance(angles, Tensor)
    torch.testing.assert_close(cosines.flatten(0, 1), angles.cos(), atol=2e-5, rtol=0)
    torch.testing.assert_close(sines.flatten(0, 1), angles.sin(), atol=2e-5, rtol=0)


def test_the_sinusoid_of_animatediff_is_that_of_the_positions_in_between(pipes: dict[str, Any]) -> None:
    pipe, added = pipes["animatediff"], []
    block = next(x for x in pipe.unet.modules() if getattr(x, "pos_embed", None) is not None)
    zeros = torch.zeros(1, 16, block.pos_embed.pe.shape[-1])
    with genkit.apply(pipe, TWICE) as handle:
        spy = block.attn1.register_forward_pre_hook(lambda *_: added.append(block.pos_embed(zeros)[0].double()))
        latents(pipe, "animatediff")
        spy.remove()
        assert torch.equal(block.pos_embed(zeros), zeros + block.pos_embed.pe[:, :16]), "outside of a forward"
        assert handle.session.run.came["position-interpolation", "positions"] > 0
    width = zeros.shape[-1]
    for frame in range(16):
        for pair in range(width // 2):
            angle = torch.tensor(frame / 2.5 * 10000 ** (-2 * pair / width), dtype=torch.float64)
            exact = torch.stack([angle.sin(), angle.cos()])
            torch.testing.assert_close(added[0][frame, 2 * pair : 2 * pair + 2], exact, atol=3e-6, rtol=0)


def test_the_sinusoid_of_cogvideox_2b_is_that_of_the_positions_in_between(pipes: dict[str, Any]) -> None:
    """Against diffusers' own interpolation: the same clip with the scale in the module that adds the table."""
    pipe = pipes["cogvideox2b"]
    with genkit.apply(pipe, TWICE):
        ours = latents(pipe, "cogvideox2b")
    other = copy.deepcopy(pipe)
    other.transformer.patch_embed.temporal_interpolation_scale = 2.5
    torch.testing.assert_close(ours, latents(other, "cogvideox2b"), atol=1e-4, rtol=1e-4)
    assert not torch.allclose(ours, latents(pipe, "cogvideox2b"), atol=1e-3, rtol=1e-3)


# --- lengths ---


def generated(pipe: Any, frames: int, *plugins: Any) -> int:
    with genkit.apply(pipe, *plugins) as handle:
        video = handle.generate("a red circle", num_frames=frames, height=48, width=64, num_inference_steps=1)
    return len(video.frames)


def test_animatediff_goes_beyond_its_table_where_positions_stay_in_it(pipes: dict[str, Any]) -> None:
    pipe = pipes["animatediff"]
    assert generated(pipe, 48, genkit.PositionInterpolation()) == 48
    assert generated(pipe, 63, genkit.PositionInterpolation(factor=2)) == 63
    with pytest.raises(
        UsageError, match="position-interpolation: the last of 64 frames would be at position 31.5, .* end at 31; make"
    ):
        generated(pipe, 64, genkit.PositionInterpolation(factor=2))
    with pytest.raises(UsageError, match="riflex: the last of 33 frames would be at position 32, and .* end at 31"):
        generated(pipe, 33, genkit.RIFLEx())
    with genkit.apply(pipe, genkit.RIFLEx()), pytest.raises(ValueError, match="the last of 40 frames would be at pos"):
        pipe(**families.call_arguments("animatediff", num_frames=40))


def test_windows_that_begin_positions_anew_begin_a_plan_anew(pipes: dict[str, Any]) -> None:
    pipe, noise = pipes["animatediff"], genkit.FreeNoise(window=16, stride=4)

    def made(*plugins: Any) -> Tensor:
        with genkit.apply(pipe, *plugins):
            out: Tensor = pipe(**families.call_arguments("animatediff", num_frames=40)).frames
        return out

    plain = made(noise)
    assert torch.equal(made(noise, genkit.PositionInterpolation()), plain), "a window is as long as the training"
    assert torch.equal(made(noise, genkit.PositionInterpolation(factor=1)), plain)
    twice = made(noise, genkit.PositionInterpolation(factor=2))
    assert not torch.equal(twice, plain)
    other = copy.deepcopy(pipe)
    for module in other.unet.modules():
        if getattr(module, "pos_embed", None) is not None:
            table = module.pos_embed.pe
            pairs = range(table.shape[-1] // 2)
            turns = torch.tensor([10000 ** (-2 * p / table.shape[-1]) for p in pairs], dtype=torch.float64)
            angles = torch.arange(32)[:, None] / 2 * turns
            table[0, :, 0::2], table[0, :, 1::2] = angles.sin(), angles.cos()
    with genkit.apply(other, noise):
        expected = other(**families.call_arguments("animatediff", num_frames=40)).frames
    torch.testing.assert_close(twice, expected, atol=1e-5 * float(expected.abs().max()), rtol=0)


# --- others around the model ---


def test_another_pipeline_around_the_same_model_computes_as_without(pipes: dict[str, Any]) -> None:
    for name in ("wan", "cogvideox", "mochi", "animatediff", "cogvideox2b"):
        pipe = pipes[name]
        other = type(pipe)(**pipe.components)
        other.set_progress_bar_config(disable=True)
        plain = latents(other, name)
        with genkit.apply(pipe, TWICE) as handle:
            ours = latents(pipe, name)
            asked = dict(handle.session.run.came)
            assert torch.equal(latents(other, name), plain) and dict(handle.session.run.came) == asked
            assert torch.equal(latents(pipe, name), ours) and not torch.equal(ours, plain)


@pytest.mark.parametrize("name", ["wan", "cogvideox", "mochi", "animatediff", "cogvideox2b"])
def test_plans_stay_in_under_offload_in_half_precision_in_copies_and_on_the_second_video(name: str) -> None:
    pipe = BUILT[name]()
    with genkit.apply(pipe, TWICE):
        want = latents(pipe, name)
    with genkit.apply(pipe, TWICE):
        pipe.enable_model_cpu_offload(device="cpu")
        assert torch.equal(latents(pipe, name), want) and torch.equal(latents(pipe, name), want)
    pipe = BUILT[name]()
    accelerate.cpu_offload(getattr(pipe, "transformer", None) or pipe.unet, execution_device="cpu")
    with genkit.apply(pipe, TWICE):
        assert torch.equal(latents(pipe, name), want) and torch.equal(latents(pipe, name), want)
    pipe = BUILT[name]()
    with genkit.apply(pipe, TWICE):
        pipe.to(torch.bfloat16)
        half = latents(pipe, name)
        plain = latents(copy.deepcopy(pipe), name)
    assert torch.isfinite(half).all() and not torch.equal(half, plain)
    assert torch.equal(latents(pipe, name), plain)


# --- refusals ---


@pytest.mark.parametrize("plugin", [TWICE, SLOWER], ids=lambda plugin: plugin.name)
def test_a_model_without_positions_is_refused_in_words(plugin: Any) -> None:
    pipe = families.FAMILIES["text_to_video_sd"]()
    sentence = (
        rf"{plugin.name} changes the positions of frames, and ModelScope and Zeroscope \(TextToVideoSD\) has none: "
        rf"convolutions carry time; leave {plugin.name} out, or make longer videos with freenoise or freelong"
    )
    with pytest.raises(UsageError, match=sentence):
        genkit.apply(pipe, plugin)
    with genkit.apply(pipe):
        pass


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("wan", {"rotation": facts._cogvideox}),
        ("hunyuan", {"rotation": facts._wan}),
        ("cogvideox", {"rotation": facts._wan}),
        ("ltx", {"rotation": facts._wan}),
        ("mochi", {"rotation": lambda model, given: facts.Rotation(given["pos_frequencies"][1].double())}),
        ("animatediff", {"rotation": lambda table, given: facts.Rotation(facts._geometric(table.pe.shape[-1], 1e3))}),
    ],
)
def test_a_card_that_is_wrong_about_the_model_is_found_out(
    name: str, wrong: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import replace

    pipe = BUILT[name]()
    card = card_of(pipe)
    models = {name: replace(one, positions=replace(one.positions, **wrong)) for name, one in card.models.items()}
    card = replace(card, models=models)
    monkeypatch.setattr("genkit.generation.context.card_of", lambda pipe: card)
    with genkit.apply(pipe, TWICE), pytest.raises(ValueError, match="does not match the facts of its family"):
        latents(pipe, name)


def test_a_part_that_is_missing_is_found_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    pipe = BUILT["wan"]()
    card = card_of(pipe)
    facts = replace(card.main, positions=PositionFacts(making="rotary module", where="turning"))
    card = replace(card, models={"transformer": facts})
    monkeypatch.setattr("genkit.generation.context.card_of", lambda pipe: card)
    with pytest.raises(UsageError, match="transformer has no module 'turning' that computes its positions"):
        genkit.apply(pipe, TWICE)
    assert "_genkit_handle" not in vars(pipe)


def test_a_table_that_devices_share_is_refused() -> None:
    pipe = BUILT["wan"]()
    rope = pipe.transformer.rope
    rope.register_forward_hook(lambda part, args, out: tuple(x[:, :54] for x in out))
    sentence = (
        r"transformer.rope has the positions of 54 tokens and the video has 108 \(do devices share them in context"
    )
    with genkit.apply(pipe, TWICE), pytest.raises(ValueError, match=sentence):
        latents(pipe, "wan")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["wan", "cogvideox"])
def test_a_compiled_model_has_the_plan_too(name: str) -> None:
    pipe = BUILT[name]()
    with genkit.apply(pipe, TWICE):
        want = latents(pipe, name)
    pipe.transformer = torch.compile(pipe.transformer, backend="eager")
    with genkit.apply(pipe, TWICE):
        torch.testing.assert_close(latents(pipe, name), want)


def test_positions_that_the_caller_gives_are_his_own() -> None:
    pipe = BUILT["ltx"]()
    with genkit.apply(pipe, TWICE) as handle:
        inner = pipe.transformer.rope.forward

        def with_coordinates(*args: Any, **kwargs: Any) -> Any:
            return inner(*args, **kwargs)

        pipe.scheduler.set_timesteps(2, mu=1.0)
        given = {
            "hidden_states": torch.ones(1, 8, 8),
            "encoder_hidden_states": torch.ones(1, 4, pipe.transformer.config.caption_channels),
            "timestep": pipe.scheduler.timesteps[:1],
            "encoder_attention_mask": torch.ones(1, 4),
            "num_frames": 2,
            "height": 2,
            "width": 2,
            "video_coords": torch.ones(1, 3, 8),
        }
        with torch.no_grad(), pytest.raises(ValueError, match="video_coords set the position of each frame"):
            pipe.transformer(**given)
        assert handle.session.run.came["position-interpolation", "positions"] == 0


@pytest.fixture
def pathless(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An adapter that enters nothing."""
    for adapter in set(ADAPTERS.values()):
        monkeypatch.setattr(adapter, "install", lambda self: None)
    yield


def test_a_plan_that_nothing_came_to_is_an_error(pathless: None) -> None:
    pipe = BUILT["wan"]()
    with (
        genkit.apply(pipe, TWICE),
        pytest.raises(
            genkit.GenkitError,
            match="position-interpolation was asked for, but the model made its positions without it",
        ),
    ):
        latents(pipe, "wan")
