"""Several changes of a user together, and diffusers' own long videos of AnimateDiff."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from workflows import Change, applied, build, check_change, expected, model, video

import genkit

CPU = torch.device("cpu")
LONG = {"num_frames": 16}


@pytest.fixture(autouse=True)
def nothing_compiled() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def adapt(pipe: Any) -> None:
    """Add an adapter of the attention layers, the same each time."""
    peft = pytest.importorskip("peft", reason="pip install '.[lora]'")
    torch.manual_seed(1)
    config = peft.LoraConfig(r=2, target_modules=["to_q", "to_k"], init_lora_weights=False)
    model(pipe).add_adapter(config, "one")


def cast(pipe: Any) -> None:
    """Store the weights in float8."""
    model(pipe).enable_layerwise_casting(storage_dtype=torch.float8_e4m3fn, compute_dtype=torch.float32)


def group(pipe: Any) -> None:
    """Offload the model by blocks."""
    model(pipe).enable_group_offload(onload_device=CPU, offload_type="block_level", num_blocks_per_group=1)


def compile_blocks(pipe: Any) -> None:
    """Compile each block."""
    model(pipe).compile_repeated_blocks(backend="eager")


def fuse(pipe: Any) -> None:
    """Fuse the adapter into the weights, and then the projections."""
    pipe.fuse_lora()
    model(pipe).fuse_qkv_projections()


TOGETHER: dict[str, tuple[Change, ...]] = {
    "float8 weights offloaded by block": (cast, group),
    "offloaded by block, then an adapter": (group, adapt),
    "an adapter, then float8 weights": (adapt, cast),
    "an adapter fused, then the projections": (adapt, fuse),
    "compiled blocks, then an adapter": (compile_blocks, adapt),
}


@pytest.mark.parametrize("together", TOGETHER)
def test_changes_in_a_row(together: str) -> None:
    def change(pipe: Any) -> None:
        for each in TOGETHER[together]:
            each(pipe)

    assert not torch.equal(check_change("wan", "sparse", change), expected("wan", "sparse"))


def test_long_videos_of_animatediff_by_diffusers_itself() -> None:
    """``enable_free_noise`` puts other layers into the UNet: known if done before, an error inside."""
    before, inside = build("animatediff"), build("animatediff")
    before.enable_free_noise(context_length=8, context_stride=4)
    plain = video("animatediff", before, **LONG)
    with applied(before, "nothing") as handle:
        assert torch.equal(video("animatediff", before, **LONG), plain)
        assert len(handle.session.run.routed) == len(handle.session.layers)
    with (
        applied(inside, "nothing"),
        pytest.raises(genkit.GenkitError, match=r"transformer_blocks\.0\.attn1 was replaced after apply"),
    ):
        inside.enable_free_noise(context_length=8, context_stride=4)
        video("animatediff", inside, **LONG)
    assert torch.equal(video("animatediff", inside, **LONG), plain)
