"""A model is reordered only after a small trial of it: real models and toys that differ in one thing each."""

from types import SimpleNamespace
from typing import Any

import diffusers
import families
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import genkit
from genkit.attention.facts.card import Card
from genkit.attention.facts.model_facts import ModelFacts
from genkit.attention.geometry.layout import Layout, Morton
from genkit.attention.model.session import Session
from genkit.attention.planning.rule import SparseRule
from genkit.plugins.sparse.sliding_tile import SlidingTile

VOLUME = (5, 3, 4)
WAN: dict[str, Any] = {
    "num_attention_heads": 2,
    "attention_head_dim": 32,
    "in_channels": 4,
    "out_channels": 4,
    "text_dim": 32,
    "freq_dim": 32,
    "ffn_dim": 64,
    "num_layers": 3,
    "rope_max_seq_len": 64,
}


def card(layers: str, blocks: str = "blocks", packed: bool = False) -> Card:
    """A family with one kind of attention."""

    def volume(model: nn.Module, arguments: dict[str, Any]) -> tuple[int, int, int]:
        if packed:
            return arguments["num_frames"], arguments["height"], arguments["width"]
        _, _, frames, height, width = arguments["hidden_states"].shape
        return frames, height // 2, width // 2

    facts = ModelFacts(classes=("Toy",), layers={"self": layers}, volume=volume, blocks=(blocks,))
    return Card(
        family="toy",
        title="a toy",
        models={"transformer": facts},
        native_frames=5,
        fps=8,
        stride_attribute="stride",
    )


def compared(model: nn.Module, facts: Card, arguments: dict[str, Any]) -> tuple[float, Session]:
    """How far the outputs are from the plain ones when tiles keep everything, and the session; two forwards."""
    scheduler = SimpleNamespace(step_index=0, timesteps=torch.ones(2), sigmas=torch.ones(3))
    pipe = SimpleNamespace(transformer=model, scheduler=scheduler, stride=4)
    rule = SparseRule(
        planner=SlidingTile(tile=(2, 2, 2), window=(9, 9, 9), block=8).planner(),
        dense_steps=0,
        dense_layers=0,
        min_tokens=1,
    )
    with torch.no_grad():
        plain, state = tensors(model(**arguments, return_dict=False)), torch.get_rng_state()
        session = Session(pipe, facts, [rule])
        session.install()
        for _ in range(2):
            ordered = tensors(model(**arguments, return_dict=False))
        session.remove()
        assert torch.equal(state, torch.get_rng_state()), "the caller's random numbers are left alone"
        assert all(map(torch.equal, plain, tensors(model(**arguments, return_dict=False)))), "nothing is left behind"
    assert len(session.reordering.trials) == 1, "one trial is enough"
    return max(float((a - b).abs().max() / a.abs().max()) for a, b in zip(plain, ordered, strict=True)), session


def tensors(out: Any) -> list[Tensor]:
    return list(out) if isinstance(out, tuple) else [out]


def seeded(make: Any) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return make().eval()


def drawn(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(len(shape)))


def test_vace_whose_hints_come_between_the_blocks_is_not_reordered() -> None:
    """Also not when its first video has hints of no weight, with which every order would do."""
    make = lambda: diffusers.WanVACETransformer3DModel(**WAN, vace_layers=[0, 2], vace_in_channels=6)  # noqa: E731
    model, frames, height, width = seeded(make), *(VOLUME[0], 2 * VOLUME[1], 2 * VOLUME[2])
    for parameter in model.parameters():  # gates that begin at 0 would make it blind to hints
        if not parameter.any():
            nn.init.normal_(parameter, std=0.2)
    for weight in (1.0, 0.0):
        arguments = {
            "hidden_states": drawn(1, 4, frames, height, width),
            "timestep": torch.tensor([500]),
            "encoder_hidden_states": drawn(1, 16, 32),
            "control_hidden_states": drawn(1, 6, frames, height, width),
            "control_hidden_states_scale": torch.full((2,), weight),
        }
        difference, session = compared(model, card(r"(vace_)?blocks\.\d+\.attn1"), arguments)
        assert difference < 1e-5
        (note,) = session.run.notes
        assert "a WanVACETransformer3DModel must not be reordered, as its output then changes (by 0." in note


@pytest.mark.parametrize("rope", ["split", "interleaved"])
def test_ltx2_is_reordered_whatever_the_layout_of_its_rotary_tables(rope: str) -> None:
    """Tables ``[B, H, T, D / 2]`` and ``[B, T, D]``; beside the video goes a sound with tokens of its own."""
    config: dict[str, Any] = {
        "in_channels": 8,
        "out_channels": 8,
        "num_attention_heads": 2,
        "attention_head_dim": 16,
        "cross_attention_dim": 32,
        "audio_in_channels": 4,
        "audio_out_channels": 4,
        "audio_num_attention_heads": 2,
        "audio_attention_head_dim": 8,
        "audio_cross_attention_dim": 16,
        "num_layers": 2,
        "caption_channels": 32,
        "rope_type": rope,
    }
    model = seeded(lambda: diffusers.LTX2VideoTransformer3DModel(**config))
    arguments = {
        "hidden_states": drawn(1, 60, 8),
        "audio_hidden_states": drawn(1, 10, 4),
        "encoder_hidden_states": drawn(1, 16, 32),
        "audio_encoder_hidden_states": drawn(1, 16, 32),
        "timestep": torch.tensor([500.0]),
        **dict(zip(("num_frames", "height", "width"), VOLUME, strict=True)),
        "audio_num_frames": 10,
    }
    facts = card(r"transformer_blocks\.\d+\.attn1", "transformer_blocks", packed=True)
    difference, session = compared(model, facts, arguments)
    assert difference < 1e-5
    (trial,) = session.reordering.trials.values()
    assert trial.axes is not None and not session.run.notes
    assert set(trial.axes.values()) == ({1, 2} if rope == "split" else {1})


class Attention(nn.Module):
    """Self-attention of one head."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Linear(16, 48)

    def forward(self, x: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(*self.mix(x)[:, None].chunk(3, -1))[:, 0]


class Block(nn.Module):
    """A block that may do one thing which depends on the order."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.attn, self.kind, self.conv = Attention(), kind, nn.Conv1d(16, 16, 3, padding=1)
        self.drop = nn.Dropout(0.5)

    def forward(self, hidden_states: Tensor, temb: Tensor) -> Tensor:
        x = self.drop(hidden_states) + temb
        if self.kind == "first frame":
            x = torch.cat([2 * x[:, :6], x[:, 6:]], 1)
        if self.kind == "convolution":
            x = x + self.conv(x.mT).mT
        return x + self.attn(x)


class Toy(nn.Module):
    """Two blocks over ``[B, 16, F, 2 H, 2 W]``, in patches of 2 x 2."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind, self.blocks = kind, nn.ModuleList([Block(kind), Block(kind)])
        self.patch, self.temb = nn.Conv3d(16, 16, (1, 2, 2), (1, 2, 2)), nn.Linear(1, 16)
        self.register_buffer("places", drawn(1, 4096, 16), persistent=False)

    def forward(self, hidden_states: Tensor, timestep: Tensor, return_dict: bool = True) -> tuple[Tensor]:
        x = self.patch(hidden_states).flatten(2).mT
        x = x + self.places[:, : x.shape[1]]
        if self.kind == "fixed size" and x.shape[1] != 60:
            raise ValueError("this model has positions for 60 tokens")
        temb = self.temb((timestep[..., None].float() / 1000).to(self.temb.weight))
        temb = temb if temb.ndim == 3 else temb[:, None]
        for number, block in enumerate(self.blocks):
            x = block(x, temb)
            if self.kind == "hints" and number == 0:
                x = x + self.places[:, : x.shape[1]]
        return (x,)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("plain", None),
        ("first frame", "its output then changes"),
        ("convolution", "its output then changes"),
        ("hints", "its output then changes"),
        ("fixed size", r"a small trial of it failed \(this model has positions for 60 tokens\)"),
    ],
)
def test_toys(kind: str, reason: str | None, training: bool) -> None:
    """Whatever they do, keeping everything gives what the model gives without us."""
    model = seeded(lambda: Toy(kind))
    for name, module in model.named_modules():
        module.training = training and "drop" not in name  # a mode of its own for every module
    modes = [module.training for module in model.modules()]
    arguments = {"hidden_states": drawn(2, 16, 5, 6, 8), "timestep": torch.tensor([500, 500])}
    difference, session = compared(model, card(r"blocks\.\d+\.attn"), arguments)
    assert difference < 1e-5 and modes == [module.training for module in model.modules()]
    notes = " ".join(session.run.notes)
    assert (reason is None) == (not notes)
    if reason:
        assert pytest.raises(AssertionError, match=reason).matches(AssertionError(notes))


def test_a_time_for_each_token_is_reordered_with_it() -> None:
    """Also where the first video has the same time everywhere: in the trial they differ."""
    model = seeded(lambda: Toy("plain"))
    arguments = {"hidden_states": drawn(1, 16, 5, 6, 8), "timestep": torch.arange(60)[None] * 10}
    difference, session = compared(model, card(r"blocks\.\d+\.attn"), arguments)
    (trial,) = session.reordering.trials.values()
    assert difference < 1e-5 and trial.axes is not None and trial.axes[0, "temb"] == 1


def test_another_kind_of_arguments_is_tried_anew() -> None:
    model = seeded(lambda: Toy("plain"))
    layout: Layout = Morton()
    scheduler = SimpleNamespace(step_index=0, timesteps=torch.ones(2), sigmas=torch.ones(3))
    rule = SparseRule(planner=SlidingTile(tile=(2, 2, 2)).planner(), dense_steps=0, dense_layers=0, min_tokens=1)
    pipe = SimpleNamespace(transformer=model, scheduler=scheduler, stride=4)
    session = Session(pipe, card(r"blocks\.\d+\.attn"), [rule])
    session.reordering.layout = layout
    session.install()
    with torch.no_grad():
        for timestep in (torch.tensor([500]), torch.arange(60)[None], torch.tensor([1])):
            model(drawn(1, 16, 5, 6, 8), timestep)
    session.remove()
    assert len(session.reordering.trials) == 2 and all(trial.axes for trial in session.reordering.trials.values())


@pytest.mark.parametrize("family", ["wan", "cogvideox"])
def test_a_step_cache_of_the_users_own_takes_no_part_in_a_trial(family: str) -> None:
    """Half of the hooks of diffusers' first-block cache do not say that they remember something."""
    pipe = families.FAMILIES[family]()
    pipe.transformer.enable_cache(diffusers.hooks.FirstBlockCacheConfig(threshold=9.0))
    plugin = SlidingTile(tile=(2, 2, 2), window=(9, 9, 9), block=8, dense_steps=0, dense_layers=0, min_tokens=1)

    def frames() -> Tensor:
        return pipe(**families.call_arguments(family, num_inference_steps=4)).frames

    plain = frames()
    with genkit.apply(pipe, plugin) as handle:
        assert (frames() - plain).abs().max() < 2e-5
        assert all(trial.axes for trial in handle.session.reordering.trials.values())
        assert not any("in every layer" in note for note in handle.session.run.notes)
    assert torch.equal(frames(), plain)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_trial_tells_hints_from_rounding_in_half_precision(dtype: torch.dtype) -> None:
    for kind, hints in (("plain", False), ("hints", True)):
        model = seeded(lambda kind=kind: Toy(kind)).to(dtype)
        arguments = {"hidden_states": drawn(2, 16, 5, 6, 8).to(dtype), "timestep": torch.tensor([500, 500])}
        difference, session = compared(model, card(r"blocks\.\d+\.attn"), arguments)
        assert difference < 8 * torch.finfo(dtype).eps and bool(session.run.notes) == hints
