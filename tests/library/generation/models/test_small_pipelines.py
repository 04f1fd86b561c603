"""Small pipelines on stock diffusers: every class has one; its video is finite, follows the seed, needs attention."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import diffusers
import pytest
import torch
from packaging.version import Version
from small_pipelines import MODULAR, MODULAR_WITHOUT, SMALL, WITHOUT, SmallPipeline, class_of
from small_pipelines.allegro_latte_easyanimate import easyanimate_control
from small_pipelines.form import open_gates
from small_pipelines.installed import modular_pipelines, video_pipelines
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

DENOISERS = ("transformer", "transformer_2", "unet", "controlnet")
WRITTEN_FOR = Version("0.42")
"""The diffusers whose classes are listed; older ones have fewer."""


def entries() -> list[Any]:
    """Return the names of all entries, the slow ones marked."""
    return [pytest.param(name, marks=[pytest.mark.slow] * small.slow) for name, small in {**SMALL, **MODULAR}.items()]


def entry(name: str) -> SmallPipeline:
    """Return an entry; skip the test where the installed diffusers has no such class."""
    if not hasattr(diffusers, class_of(name)):
        pytest.skip(f"diffusers {diffusers.__version__} has no {class_of(name)}")
    return {**SMALL, **MODULAR}[name]


def test_every_video_pipeline_of_diffusers_is_listed_once() -> None:
    built = {class_of(name) for name in SMALL}
    assert not built & set(WITHOUT)
    known = built | set(WITHOUT)
    assert (newcomers := set(video_pipelines()) - known) == set(), f"new in diffusers, nothing is known: {newcomers}"
    if Version(diffusers.__version__) >= WRITTEN_FOR:
        assert (gone := known - set(video_pipelines())) == set(), f"diffusers has not got these any more: {gone}"


def test_every_modular_pipeline_of_video_is_listed_once() -> None:
    known = {class_of(name) for name in MODULAR} | set(MODULAR_WITHOUT)
    assert (newcomers := set(modular_pipelines()) - known) == set(), f"new in diffusers, nothing is known: {newcomers}"
    if Version(diffusers.__version__) >= WRITTEN_FOR:
        assert (gone := known - set(modular_pipelines())) == set(), f"diffusers has not got these any more: {gone}"


def test_pipelines_of_pictures_are_not_taken_for_video() -> None:
    pictures = {"StableDiffusionPipeline", "FluxPipeline", "Kandinsky5T2IPipeline", "Cosmos2TextToImagePipeline"}
    assert not pictures & set(video_pipelines())


@pytest.mark.parametrize("name", entries())
def test_a_small_pipeline_makes_a_video_that_depends_on_the_seed(name: str) -> None:
    small = entry(name)
    state = torch.get_rng_state()
    pipe = small.build()
    assert torch.equal(torch.get_rng_state(), state), "the caller's random numbers are left alone"
    assert type(pipe).__name__ == class_of(name)
    first, again, other = (small.video(pipe, seed) for seed in (1, 1, 2))
    assert torch.equal(first, again), "the arguments are fresh at every call"
    assert first.isfinite().all() and first.shape == other.shape and not torch.equal(first, other)
    assert moves(first), "a constant video would hide what a plug-in does"


def moves(video: Tensor) -> bool:
    """Return True if a video differs along two axes or more, whatever they mean."""
    spread = [bool(video.float().std(axis).max() > 1e-6) for axis in range(video.ndim) if video.shape[axis] > 1]
    return sum(spread) >= 2


class Blind(TorchFunctionMode):
    """Attention over one sequence gives zeros while ``looking`` is true; ``calls`` counts it."""

    def __init__(self) -> None:
        super().__init__()
        self.looking, self.calls = False, 0

    def __torch_function__(self, function: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        answer = function(*args, **(kwargs or {}))
        if not self.looking or function is not nn.functional.scaled_dot_product_attention:
            return answer
        given = {**dict(zip(("query", "key"), args, strict=False)), **(kwargs or {})}
        if given["query"].shape[-2] != given["key"].shape[-2]:
            return answer
        self.calls += 1
        return torch.zeros_like(answer)


@contextmanager
def blind_denoisers(pipe: diffusers.DiffusionPipeline) -> Iterator[Blind]:
    """Switch off attention of the video over itself in the models of the loop, and nowhere else."""
    blind = Blind()
    models = [getattr(pipe, name) for name in DENOISERS if isinstance(getattr(pipe, name, None), nn.Module)]
    handles = [model.register_forward_pre_hook(lambda *_: setattr(blind, "looking", True)) for model in models]
    handles += [model.register_forward_hook(lambda *_: setattr(blind, "looking", False)) for model in models]
    with blind:
        yield blind
    for handle in handles:
        handle.remove()


@pytest.mark.parametrize("name", entries())
def test_the_video_of_a_small_pipeline_needs_its_attention(name: str) -> None:
    small = entry(name)
    pipe = small.build()
    with blind_denoisers(pipe) as blind:
        without = small.video(pipe)
    if not blind.calls:
        pytest.skip("attention of the video over itself does not go through scaled_dot_product_attention")
    assert not torch.allclose(small.video(pipe), without), "a model that is blind to attention makes every test pass"


def test_zero_gates_are_opened_and_nothing_else() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 5))
    before = model[0].weight.detach().clone()
    for parameter in (model[0].bias, model[1].weight, model[1].bias):
        nn.init.zeros_(parameter)
    open_gates(model)
    assert model[1].weight.all() and torch.equal(model[0].weight, before)
    assert not model[0].bias.any() and not model[1].bias.any(), "a bias blinds nothing"


def test_the_control_pipeline_of_easyanimate_is_broken_still() -> None:
    """Once diffusers mends it, it belongs to ``SMALL``."""
    video = torch.zeros(1, 3, 5, 48, 64)
    with pytest.raises(TypeError, match="text_encoder_index"):
        easyanimate_control()(prompt="a cat", control_video=video, num_frames=5, height=48, width=64)
