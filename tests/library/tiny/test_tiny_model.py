"""The model inside the package: small, stock, and it draws what it is told."""

from pathlib import Path

import pytest
import torch

import genkit
from genkit.tiny import TINY_WEIGHTS
from genkit.tiny.evaluate import EvaluateConfig, evaluate, load_pipeline, summarise
from genkit.tiny.oracle import read, score
from genkit.tiny.world import parse

PROMPT = "a large red circle moves right on a navy background"


def test_all_files_together_are_at_most_40_megabytes():
    assert sum(file.stat().st_size for file in TINY_WEIGHTS.rglob("*") if file.is_file()) <= 40e6


def test_it_is_a_stock_pipeline_with_stock_parts():
    pipe = load_pipeline(TINY_WEIGHTS)
    names = {name: type(part).__name__ for name, part in pipe.components.items() if part is not None}
    assert names["transformer"] == "WanTransformer3DModel"
    assert names["text_encoder"] == "UMT5EncoderModel"
    assert names["scheduler"] == "UniPCMultistepScheduler"
    assert type(pipe).__name__ == "WanPipeline"


def test_the_prompt_of_the_readme_is_drawn_right():
    video = genkit.generate(genkit.load("tiny"), PROMPT, seed=1)
    assert video.frames.shape == (17, 64, 64, 3)
    right = score(read(torch.from_numpy(video.frames).movedim(-1, 1)), parse(PROMPT))
    assert right["color"] and right["size"] and right["motion"] and right["shape"] and right["background"]


@pytest.mark.slow
def test_one_thing_that_training_never_showed_is_drawn_right():
    """A small sample of ``python -m genkit.tiny.evaluate``; the bounds leave room for chance at the README's shares."""
    config = EvaluateConfig(prompts=24, seed=1)
    shares = summarise(evaluate(load_pipeline(TINY_WEIGHTS), config))["one thing"]
    assert min(shares[name].share for name in ("color", "background")) >= 0.9
    assert min(shares[name].share for name in ("size", "motion")) >= 0.85 and shares["shape"].share >= 0.75
    assert shares["joint"].share >= 0.7


def test_unknown_words_are_noted():
    video = genkit.generate(genkit.load("tiny"), "a red dog moves right on a navy background", seed=1)
    assert any("does not know 'dog'" in note for note in video.receipt.notes)


def test_loading_by_folder_is_the_same_model(tmp_path):
    one = genkit.generate(genkit.load("tiny"), PROMPT, seed=1, num_inference_steps=2)
    two = genkit.generate(genkit.load(Path(TINY_WEIGHTS)), PROMPT, seed=1, num_inference_steps=2)
    assert (one.frames == two.frames).all()
