"""The training script: every weight learns, a run resumes, and what comes out is a stock pipeline."""

import json
from pathlib import Path

import pytest
import torch

from genkit.tiny.build import TinyConfig
from genkit.tiny.evaluate import EvaluateConfig, generate, held_out_scenes, load_pipeline
from genkit.tiny.train import TrainConfig, Trainer, optimizers, rate_at, train

MODEL = TinyConfig(layers=1, heads=1, ffn=64, text_width=32, text_layers=1)
CONFIG = TrainConfig(batch=4, image_steps=1, pool=24, fresh=2, warmup=2, compiled=False)


def run(out: Path, begin_with: Path | None = None) -> None:
    train(out, MODEL, CONFIG, minutes=0.03, cooldown=0.5, save_every=60, begin_with=begin_with)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run")
    run(out)
    return out


def step_of(out: Path) -> int:
    return int(torch.load(out / "checkpoint.pt", weights_only=True)["step"])


def test_every_weight_belongs_to_one_optimizer() -> None:
    trainer = Trainer(MODEL)
    solvers = optimizers(trainer, 1e-3)
    owned = [id(p) for solver in solvers for group in solver.param_groups for p in group["params"]]
    assert sorted(owned) == sorted(id(p) for p in trainer.parameters())
    assert [solver.param_groups[0]["lr"] for solver in solvers] == [1e-3, 2.5e-4, 5e-3]
    assert [p.shape for group in solvers[2].param_groups for p in group["params"]] == [(32, 1)], "relative positions"


@pytest.mark.parametrize(
    ("step", "elapsed", "share"), [(0, 0, 0.01), (49, 10, 0.5), (500, 40, 1), (500, 75, 1), (500, 90, 0.4)]
)
def test_the_rate_rises_stays_and_falls(step: int, elapsed: float, share: float) -> None:
    assert rate_at(step, elapsed, 100, 100, 0.25) == pytest.approx(share)


def test_a_run_resumes_where_it_was(trained: Path) -> None:
    before = step_of(trained)
    assert before > 1
    weights = torch.load(trained / "checkpoint.pt", weights_only=True)["trainer"]
    run(trained)
    after = torch.load(trained / "checkpoint.pt", weights_only=True)
    assert after["step"] > before
    assert any(not torch.equal(after["trainer"][name], weights[name]) for name in weights)


def test_what_comes_out_is_a_stock_pipeline_and_can_be_begun_with(trained: Path, tmp_path: Path) -> None:
    pipe = load_pipeline(trained / "pipeline")
    (clip,) = generate(pipe, held_out_scenes(1, 0), EvaluateConfig(prompts=1, steps=1, batch=1))
    assert clip.shape == (17, 3, 64, 64) and clip.isfinite().all()
    assert json.loads((trained / "pipeline" / "model_index.json").read_text())["_class_name"] == "WanPipeline"
    run(tmp_path, begin_with=trained / "pipeline")
    assert step_of(tmp_path) > CONFIG.image_steps, "the phase of single frames is skipped"
