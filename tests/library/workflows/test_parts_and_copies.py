"""Pipelines that share a model, threads, copies, saved folders, and parts that are replaced."""

import copy
import pickle
import threading
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from workflows import FURTHER, PIPELINES, PLUGINS, applied, build, expected, model, video

import genkit

ALL = [*PIPELINES, *FURTHER]


def twin(pipe: Any) -> Any:
    """Return a second pipeline around the same models, with a scheduler and tokenizers of its own."""
    parts = {
        name: copy.deepcopy(part) if name.startswith(("scheduler", "tokenizer")) else part
        for name, part in pipe.components.items()
    }
    other = type(pipe)(**parts)
    other.set_progress_bar_config(disable=True)
    return other


@pytest.mark.parametrize("plugins", PLUGINS)
@pytest.mark.parametrize("name", PIPELINES)
def test_another_pipeline_around_the_model_computes_as_stock(name: str, plugins: str) -> None:
    pipe = build(name)
    other = twin(pipe)
    with applied(pipe, plugins):
        assert torch.equal(video(name, other), expected(name, "nothing"))
        assert torch.equal(video(name, pipe), expected(name, plugins))
        with applied(other, "sparse"):
            assert torch.equal(video(name, other), expected(name, "sparse"))
            assert torch.equal(video(name, pipe), expected(name, plugins))
    assert torch.equal(video(name, other), expected(name, "nothing"))


@pytest.mark.parametrize("name", PIPELINES)
def test_two_threads_with_a_pipeline_each_around_one_model(name: str) -> None:
    pipe = build(name)
    other, made = twin(pipe), {}

    def run(key: str, own: Any) -> None:
        made[key] = [video(name, own) for _ in range(2)]

    with applied(pipe, "sparse"):
        threads = [threading.Thread(target=run, args=given) for given in (("sparse", pipe), ("nothing", other))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
    for plugins, videos in made.items():
        assert len(videos) == 2 and all(torch.equal(one, expected(name, plugins)) for one in videos)


@pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda pipe: pickle.loads(pickle.dumps(pipe))], ids=["deep", "pickle"]
)
@pytest.mark.parametrize("name", ALL)
def test_a_copy_is_a_stock_pipeline(name: str, copied: Any) -> None:
    pipe = build(name)
    with applied(pipe, "nothing" if name in FURTHER else "sparse") as handle:
        other = copied(pipe)
        counted = dict(handle.session.run.routed)
        assert torch.equal(video(name, other), expected(name, "nothing"))
        assert dict(handle.session.run.routed) == counted, "the copy calls the original"
        with applied(other, "nothing"):
            assert torch.equal(video(name, other), expected(name, "nothing"))


@pytest.mark.parametrize("name", PIPELINES)
def test_what_is_saved_inside_is_what_is_saved_outside(name: str, tmp_path: Path) -> None:
    pipe = build(name)
    model(pipe).save_pretrained(tmp_path / "before")
    pipe.scheduler.save_pretrained(tmp_path / "before")
    with applied(pipe, "noise and positions"):
        model(pipe).save_pretrained(tmp_path / "inside")
        pipe.scheduler.save_pretrained(tmp_path / "inside")
        pipe.save_pretrained(tmp_path / "whole")
    before, inside = (
        {file.name: file.read_bytes() for file in (tmp_path / folder).iterdir()} for folder in ("before", "inside")
    )
    assert before == inside and len(before) >= 3
    index = (tmp_path / "whole" / "model_index.json").read_text()
    assert "genkit" not in index and type(pipe).__name__ in index


@pytest.mark.parametrize("name", PIPELINES)
def test_a_scheduler_replaced_inside_is_the_one_that_runs(name: str) -> None:
    pipe, plain = build(name), build(name)
    for one in (plain, pipe):
        if one is pipe:
            handle = applied(pipe, "nothing")
            assert torch.equal(video(name, pipe), expected(name, "nothing"))
        one.scheduler = diffusers.FlowMatchEulerDiscreteScheduler(shift=2.0)
    assert torch.equal(video(name, pipe), video(name, plain))
    handle.remove()
    assert torch.equal(video(name, pipe), video(name, plain))
    assert not torch.equal(video(name, pipe), expected(name, "nothing"))


@pytest.mark.parametrize("plugins", PLUGINS)
@pytest.mark.parametrize("name", PIPELINES)
def test_a_replaced_model_is_an_error_and_back_again_is_none(name: str, plugins: str) -> None:
    pipe = build(name)
    own, other = pipe.transformer, build(name).transformer
    with applied(pipe, plugins):
        pipe.transformer = other
        with pytest.raises(genkit.GenkitError, match=r"pipe\.transformer was replaced after apply\(\)"):
            video(name, pipe)
        pipe.transformer = own
        assert torch.equal(video(name, pipe), expected(name, plugins))


def test_an_autoencoder_replaced_inside_is_an_error_where_a_plug_in_decodes() -> None:
    pipe, other = build("wan"), build("wan").vae
    pixels = {"output_type": "pt"}
    plain = video("wan", pipe, **pixels)
    with applied(pipe, "nothing"):
        pipe.vae = other
        assert torch.equal(video("wan", pipe, **pixels), plain)
    with genkit.apply(pipe, genkit.StreamDecode()):
        pipe.vae = build("wan").vae
        with pytest.raises(genkit.GenkitError, match="the pipeline decoded its latents without it"):
            video("wan", pipe, **pixels)
