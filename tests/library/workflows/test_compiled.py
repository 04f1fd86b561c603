"""``torch.compile`` of the model or of its blocks, before and inside ``apply``: only attention runs eagerly."""

from collections.abc import Callable, Iterator
from typing import Any

import families
import pytest
import torch
from workflows import applied, build, expected, model, routed_videos, video

import genkit

LONGER = {"num_frames": 25}
FULLGRAPH = "plug-ins compute attention outside of the compiled graph.*compile without fullgraph=True while plug-ins"


def whole(pipe: Any, **options: Any) -> None:
    """Compile the model in place."""
    model(pipe).compile(backend="eager", **options)


def assigned(pipe: Any, **options: Any) -> None:
    """Put the compiled model's wrapper in place of the model."""
    pipe.transformer = torch.compile(pipe.transformer, backend="eager", **options)


def blocks(pipe: Any, **options: Any) -> None:
    """Compile each block."""
    model(pipe).compile_repeated_blocks(backend="eager", **options)


WAYS: dict[str, Callable[..., None]] = {"whole": whole, "assigned": assigned, "blocks": blocks}
slow = pytest.mark.slow


@pytest.fixture(autouse=True)
def nothing_compiled() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def check_compiled(name: str, plugins: str, way: Callable[..., None], **options: Any) -> None:
    """Check a compiled model before and inside ``apply``, a second length, and the model after removal."""
    plain = build(name)
    longer = video(name, plain, **LONGER)
    for inside in (False, True):
        pipe = build(name)
        if not inside:
            way(pipe, **options)
        with applied(pipe, plugins) as handle:
            if inside:
                video(name, pipe)
                way(pipe, **options)
            assert torch.equal(routed_videos(handle, name, 1)[0], expected(name, plugins))
            if plugins == "nothing":
                assert torch.equal(video(name, pipe, **LONGER), longer)
            else:
                assert torch.isfinite(video(name, pipe, **LONGER)).all()
            assert torch.equal(routed_videos(handle, name, 1)[0], expected(name, plugins))
        assert torch.equal(video(name, pipe), expected(name, "nothing"))
        assert torch.equal(video(name, pipe, **LONGER), longer)


def test_the_blocks_of_wan_with_a_sparse_method() -> None:
    check_compiled("wan", "sparse", blocks)


@slow
@pytest.mark.parametrize("plugins", ["nothing", "sparse", "noise and positions"])
@pytest.mark.parametrize("name", ["wan", "ltx", "hunyuan"])
@pytest.mark.parametrize("way", WAYS)
def test_a_compiled_model_computes_the_same(way: str, name: str, plugins: str) -> None:
    check_compiled(name, plugins, WAYS[way])


@slow
@pytest.mark.parametrize("name", ["wan", "ltx", "hunyuan"])
def test_dynamic_shapes(name: str) -> None:
    check_compiled(name, "sparse", blocks, dynamic=True)


@pytest.mark.parametrize("way", [blocks, pytest.param(whole, marks=slow), pytest.param(assigned, marks=slow)])
def test_fullgraph_is_refused_in_words_and_works_after_removal(way: Callable[..., None]) -> None:
    pipe = build("wan")
    sizes = {name: value for name, value in families.sizes("wan").items() if "prompt" not in name}
    way(pipe, fullgraph=True)
    with applied(pipe, "sparse") as handle:
        with pytest.raises(genkit.UsageError, match=FULLGRAPH):
            handle.generate("a red circle", **sizes)
        with pytest.raises(RuntimeError, match=FULLGRAPH):
            video("wan", pipe)
    assert torch.equal(video("wan", pipe), expected("wan", "nothing"))
