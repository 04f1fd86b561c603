"""Attention processors and backends that users set before or inside ``apply``."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from diffusers.models.transformers.transformer_wan import WanAttnProcessor
from workflows import PIPELINES, PLUGINS, applied, build, check_change, expected, model, routed_videos, stock, video

import genkit
from genkit.attention.private import default_backend, default_backend_kept

MATH = "_native_math"


@pytest.fixture(autouse=True)
def own_default() -> Iterator[None]:
    """diffusers makes a backend that was set on one model the default of the whole process."""
    with default_backend_kept():
        yield


class Scaled:
    """A user's processor: the model's own, with a weaker answer."""

    def __init__(self, own: Any) -> None:
        self.own = own

    def __call__(self, *given: Any, **options: Any) -> Any:
        """Return half of the layer's answer."""
        return 0.5 * self.own(*given, **options)


class Written(WanAttnProcessor):
    """A user's processor that never calls ``scaled_dot_product_attention``."""

    def __call__(self, attn: Any, hidden_states: torch.Tensor, *given: Any, **options: Any) -> torch.Tensor:
        """Return the mean of the tokens."""
        return hidden_states.mean(1, keepdim=True).expand_as(hidden_states)


def weaken(pipe: Any) -> None:
    """Set a processor on every layer of the model."""
    for module in model(pipe).modules():
        if hasattr(module, "set_processor"):
            module.set_processor(Scaled(module.processor))


def set_math(pipe: Any) -> None:
    """Choose PyTorch's plain attention."""
    model(pipe).set_attention_backend(MATH)


def set_and_reset(pipe: Any) -> None:
    """Choose a backend and take the choice back, in diffusers' own way."""
    set_math(pipe)
    model(pipe).reset_attention_backend()


@pytest.mark.parametrize("plugins", PLUGINS)
def test_a_processor_set_inside_acts_as_one_set_before(plugins: str) -> None:
    made = check_change("wan", plugins, weaken)
    assert not torch.equal(made, expected("wan", plugins))


def test_a_processor_without_attention_is_an_error_and_no_video() -> None:
    pipe = build("wan")
    with applied(pipe, "sparse"):
        video("wan", pipe)
        pipe.transformer.blocks[1].attn1.set_processor(Written())
        with pytest.raises(RuntimeError, match=r"blocks\.1\.attn1 never called scaled_dot_product_attention"):
            video("wan", pipe)
        pipe.transformer.blocks[1].attn1.set_processor(WanAttnProcessor())
        assert torch.equal(video("wan", pipe), expected("wan", "sparse"))
    assert torch.equal(video("wan", pipe), expected("wan", "nothing"))


@pytest.mark.parametrize("name", PIPELINES)
def test_a_backend_is_used_for_dense_calls_wherever_it_was_set(name: str) -> None:
    kept = default_backend()
    with default_backend_kept():
        plain = stock(name, set_math)
    for inside in (False, True):
        with default_backend_kept():
            pipe = build(name)
            if not inside:
                set_math(pipe)
            with applied(pipe, "nothing") as handle:
                if inside:
                    video(name, pipe)
                    set_math(pipe)
                assert torch.equal(routed_videos(handle, name, 1)[0], plain)
                assert f"dense ({MATH})" in handle.session.run.backends
            assert torch.equal(video(name, pipe), plain)
    assert default_backend() == kept


def test_a_reset_leaves_diffusers_default_at_the_last_choice_with_or_without_plug_ins() -> None:
    """``reset_attention_backend`` forgets the choice of the layers, and not the default of the process."""
    own, plain = expected("wan", "nothing"), stock("wan", set_and_reset)
    assert default_backend() == MATH and not torch.equal(plain, own)
    torch.testing.assert_close(plain, own, rtol=1e-4, atol=1e-4)
    pipe = build("wan")
    with applied(pipe, "nothing"):
        set_and_reset(pipe)
        assert torch.equal(video("wan", pipe), plain)
    assert torch.equal(video("wan", pipe), plain)
    with genkit.apply(pipe):
        model(pipe).set_attention_backend("native")
        assert torch.equal(video("wan", pipe), own)
    assert torch.equal(video("wan", pipe), own) and default_backend() == "native"
