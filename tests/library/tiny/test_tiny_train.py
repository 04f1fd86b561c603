"""The training script: every weight learns, a run resumes, and what comes out is a stock pipeline."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from genkit.errors import UsageError
from genkit.tiny.autoencoder import PatchAutoencoder
from genkit.tiny.build import TinyConfig
from genkit.tiny.evaluate import EvaluateConfig, generate, load_pipeline, world_of
from genkit.tiny.models.frames import FrameAutoencoder
from genkit.tiny.motions import WORLDS, World
from genkit.tiny.tally import held_out_scenes
from genkit.tiny.train import Budget
from genkit.tiny.train import run as train
from genkit.tiny.training.config import TrainConfig
from genkit.tiny.training.few import straight_end, student_scheduler
from genkit.tiny.training.flow import FlowLearner
from genkit.tiny.training.solvers import optimizers, rate_at

MODEL = TinyConfig(layers=1, heads=1, ffn=64, text_width=32, text_layers=1)
CONFIG = TrainConfig(batch=4, image_steps=1, pool=24, fresh=2, warmup=2, compiled=False)


def run(out: Path, steps: int, begin_with: Path | None = None) -> None:
    train("tiny", out, MODEL, CONFIG, Budget(steps=steps, cooldown=0.5, save_every=60), begin_with=begin_with)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run")
    run(out, 4)
    return out


def step_of(out: Path) -> int:
    return int(torch.load(out / "checkpoint.pt", weights_only=True)["step"])


def test_every_weight_belongs_to_one_optimizer() -> None:
    trainer = FlowLearner(MODEL, WORLDS[1])
    solvers = optimizers(trainer, 1e-3)
    owned = [id(p) for solver in solvers for group in solver.param_groups for p in group["params"]]
    assert sorted(owned) == sorted(id(p) for p in trainer.parameters())
    assert [solver.param_groups[0]["lr"] for solver in solvers] == [1e-3, 2.5e-4, 5e-3]
    assert [p.shape for group in solvers[2].param_groups for p in group["params"]] == [(32, 1)], "relative positions"


@pytest.mark.parametrize(
    ("step", "elapsed", "share"), [(0, 0, 0.01), (49, 10, 0.5), (500, 40, 1), (500, 75, 1), (500, 90, 0.4)]
)
def test_the_rate_rises_stays_and_falls(step: int, elapsed: float, share: float) -> None:
    assert rate_at(step, elapsed / 100, 100, 0.25) == pytest.approx(share)


def test_a_run_resumes_where_it_was(trained: Path) -> None:
    assert step_of(trained) == 4
    weights = torch.load(trained / "checkpoint.pt", weights_only=True)["trainer"]
    run(trained, 6)
    after = torch.load(trained / "checkpoint.pt", weights_only=True)
    assert after["step"] == 6
    assert any(not torch.equal(after["trainer"][name], weights[name]) for name in weights)


def test_what_comes_out_is_a_stock_pipeline_and_can_be_begun_with(trained: Path, tmp_path: Path) -> None:
    pipe = load_pipeline(trained / "pipeline")
    (clip,) = generate(pipe, held_out_scenes(1, 0), EvaluateConfig(prompts=1, steps=1, batch=1))
    assert clip.shape == (17, 3, 64, 64) and clip.isfinite().all()
    assert json.loads((trained / "pipeline" / "model_index.json").read_text())["_class_name"] == "WanPipeline"
    run(tmp_path, CONFIG.image_steps, begin_with=trained / "pipeline")
    assert step_of(tmp_path) == CONFIG.image_steps, "the phase of single frames is skipped"
    old, new = (load_pipeline(out / "pipeline").text_encoder.shared.weight for out in (trained, tmp_path))
    assert torch.equal(old, new), "and nothing was learned yet"


ENDLESS = TrainConfig(
    batch=4, image_steps=1, pool=12, fresh=2, warmup=2, compiled=False, events=0.4, pairs=0.3, lengths=(1.0, 0.5)
)


def run_steps(
    out: Path, steps: int, world: World = WORLDS[2], begin_with: Path | None = None
) -> dict[str, torch.Tensor]:
    train("tiny", out, MODEL, ENDLESS, Budget(steps=steps), world, begin_with)
    state: dict[str, torch.Tensor] = torch.load(out / "checkpoint.pt", weights_only=True)["average"]
    return state


def test_a_stopped_run_ends_as_one_that_never_stopped(tmp_path: Path) -> None:
    whole = run_steps(tmp_path / "whole", 5)
    run_steps(tmp_path / "stopped", 3)
    resumed = run_steps(tmp_path / "stopped", 5)
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_old_weights_begin_a_new_world(trained: Path, tmp_path: Path) -> None:
    state = run_steps(tmp_path, 2, begin_with=trained / "pipeline")
    old = load_pipeline(trained / "pipeline").text_encoder.shared.weight
    new = state["text_encoder.shared.weight"]
    assert len(new) == len(old) + 3, "the words of events"
    torch.testing.assert_close(new[: len(old)], old, atol=0.05, rtol=0.05)
    pipe = load_pipeline(tmp_path / "pipeline")
    assert world_of(pipe) is WORLDS[2]
    (clip,) = generate(pipe, held_out_scenes(1, 0, WORLDS[2]), EvaluateConfig(prompts=1, steps=1, batch=1))
    assert clip.shape == (33, 3, 64, 64)


def test_a_run_ends_with_its_steps_or_its_minutes() -> None:
    assert Budget(steps=10).share_done(5, 30.0) == 0.5
    assert Budget(minutes=1.0).share_done(5, 30.0) == 0.5
    assert Budget(steps=100, minutes=1.0).share_done(5, 30.0) == 0.5
    assert Budget(steps=100).share_done(500, 0.0) == 1.0


def test_few_steps_are_learned_from_the_paths_of_a_teacher(tmp_path: Path) -> None:
    run_steps(tmp_path / "teacher", 1)
    teacher = tmp_path / "teacher" / "pipeline"
    config = replace(ENDLESS, image_steps=0, pool=48, fresh=48, paths=1)
    train("tiny-few", tmp_path, MODEL, config, Budget(steps=2), WORLDS[2], teacher)
    (file,) = (tmp_path / "paths").iterdir()
    paths = torch.load(file, weights_only=True)["paths"]
    assert paths.shape == (24, 5, 48, 17, 8, 8), "four noise levels and the end"
    assert float(paths[:, 0].std()) == pytest.approx(1, abs=0.01), "they begin with noise"
    pipe = load_pipeline(tmp_path / "pipeline")
    pipe.scheduler.set_timesteps(4)
    other = load_pipeline(teacher).scheduler
    other.set_timesteps(20)
    torch.testing.assert_close(pipe.scheduler.sigmas, other.sigmas[::5])  # one step makes the jump of five
    with pytest.raises(UsageError, match="tiny-few learns from a teacher; give the folder"):
        train("tiny-few", tmp_path / "alone", MODEL, config, Budget(steps=1), WORLDS[2])


def test_a_step_to_the_target_of_few_steps_arrives_where_the_teacher_does() -> None:
    scheduler = student_scheduler()
    scheduler.set_timesteps(4)
    here, there = torch.randn(2, 1, 4, 3, 2, 2, generator=torch.Generator().manual_seed(0)).unbind()
    for level, time in enumerate(scheduler.timesteps):
        wanted = straight_end(here, there, *scheduler.sigmas[level : level + 2, None])
        torch.testing.assert_close(
            scheduler.step(wanted, time, here, return_dict=False)[0], there, atol=1e-4, rtol=1e-3
        )


UNET = TrainConfig(batch=2, image_steps=0, pool=6, fresh=1, warmup=1, compiled=False, watch_every=2, watched=3)


def test_the_unet_learns_in_the_stock_pipeline(tmp_path: Path) -> None:
    train("tiny-unet", tmp_path, TinyConfig(), UNET, Budget(steps=2), WORLDS[2])
    (row,) = [json.loads(line) for line in (tmp_path / "watch.jsonl").read_text().splitlines()]
    assert set(row) >= {"one thing", "two things", "an event", "all"}
    pipe = load_pipeline(tmp_path / "pipeline")
    assert type(pipe).__name__ == "AnimateDiffPipeline" and world_of(pipe) is WORLDS[2]
    (clip,) = generate(pipe, held_out_scenes(1, 0, WORLDS[2]), EvaluateConfig(prompts=1, steps=1, batch=1))
    assert clip.shape == (16, 3, 64, 64) and clip.isfinite().all()


def test_frames_are_coded_as_the_first_frame_of_a_clip() -> None:
    torch.manual_seed(0)
    vae = PatchAutoencoder(8, 2, 8, (0.0,) * 8, tuple(range(1, 9)), world=2)
    vae.components.data = torch.linalg.qr(torch.randn(384, 8))[0].T
    frames = FrameAutoencoder.of(vae)
    pictures = torch.rand(3, 3, 16, 24) * 2 - 1
    latents = vae.encode(pictures[:, :, None]).latent_dist.mode()
    torch.testing.assert_close(
        frames.encode(pictures).latent_dist.mode(), latents[:, :, 0] / torch.arange(1.0, 9)[:, None, None]
    )
    again = frames.decode(frames.encode(pictures).latent_dist.mode()).sample
    torch.testing.assert_close(again, vae.decode(latents).sample[:, :, 0])


def test_the_decoder_of_seams_learns_and_leaves_the_components_alone(tmp_path: Path) -> None:
    config = replace(UNET, learning_rate=1e-3, ema=0.0, pool=0, fresh=0, watch_every=10)
    train("decoder", tmp_path, MODEL, config, Budget(steps=10), WORLDS[2])
    (row,) = [json.loads(line) for line in (tmp_path / "watch.jsonl").read_text().splitlines()]
    assert row["psnr"] > row["psnr_linear"] > 20
    plain = PatchAutoencoder.from_pretrained(tmp_path / "vae")
    learned = PatchAutoencoder.from_pretrained(tmp_path / "decoder")
    torch.testing.assert_close(learned.components.float(), plain.components, atol=1e-3, rtol=0)
    assert plain.seam_decoder is None and learned.seam_decoder is not None
