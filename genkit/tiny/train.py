"""Train the embedded model: ``python -m genkit.tiny.train --out runs/tiny --minutes 120``.

Flow matching with the clean latents as the target; captions dropped for guidance; first single frames, then clips. The
same command resumes from the checkpoint in ``--out`` and runs on a CPU (bfloat16 matrix products) or one GPU. Nothing
is downloaded: the world is drawn while the model learns.
"""

import argparse
import copy
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from genkit.tiny.autoencoder import PatchAutoencoder
from genkit.tiny.build import TinyConfig, build_text_encoder, build_tokenizer, build_transformer, save_pipeline
from genkit.tiny.pool import Pool
from genkit.tiny.words import WordReader
from genkit.tiny.world import NATIVE_FRAMES, NATIVE_SIDE, draw_scene, render

SHARES = (1.0, 0.25, 5.0)
"""Rates of the three optimizers relative to ``learning_rate``: matrices, everything else, relative positions."""
FAST = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Training of the embedded model."""

    batch: int = 48
    """Clips in one step; single frames come in batches six times as large."""
    image_steps: int = 600
    """Steps on single frames before the clips."""
    learning_rate: float = 4e-3
    """Peak rate of Muon (matrices of the blocks); everything else learns with AdamW at a quarter of it."""
    warmup: int = 100
    """Steps until the peak rate."""
    sigma_shift: float = 7.0
    """Weight on high noise, where place and motion are decided: sigma = s u / (1 + (s - 1) u)."""
    text_dropout: float = 0.1
    """Share of captions replaced by the empty one."""
    ema: float = 0.995
    """Decay of the averaged weights that are shipped."""
    pairs: float = 0.75
    """Share of scenes with two things, which are harder."""
    words: float = 0.1
    """Weight of the loss of reading each word's thing; see ``genkit.tiny.words``."""
    pool: int = 12_000
    """Rendered clips kept in memory; every step replaces ``fresh`` of them."""
    fresh: int = 12
    """New clips drawn in each step."""
    compiled: bool = True
    """True to compile the transformer's blocks, which takes half a minute and saves a third of each step."""


class Trainer(nn.Module):
    """Text encoder and transformer, the reader of words, and the loss that trains all of them."""

    def __init__(self, model: TinyConfig) -> None:
        super().__init__()
        self.tokenizer = build_tokenizer()
        self.text_encoder = build_text_encoder(model, len(self.tokenizer))
        self.transformer = build_transformer(model)
        self.reader = WordReader(model.text_width)

    def copy_from(self, pipeline: Path) -> None:
        """Load the weights of a pipeline folder of the same size, such as the one in the package."""
        for name in ("text_encoder", "transformer"):
            part = getattr(self, name)
            part.load_state_dict(type(part).from_pretrained(pipeline / name).state_dict())

    def loss(self, clean: Tensor, texts: list[str], sigma: Tensor, noise: Tensor, length: int) -> tuple[Tensor, Tensor]:
        """Return the squared error of the predicted clean latents, weighted by 1 / sigma, and the loss of the words.

        ``sigma`` is ``[B]`` in (0, 1].
        """
        tokens = self.tokenizer(texts, padding="max_length", max_length=length, return_tensors="pt").to(clean.device)
        text = self.text_encoder(tokens.input_ids, tokens.attention_mask).last_hidden_state
        text = text * tokens.attention_mask[..., None]  # WanPipeline pads with zeros
        s = sigma[:, None, None, None, None]
        noisy = (1 - s) * clean + s * noise
        predicted = self.transformer(noisy, (sigma * 1000).long(), text, return_dict=False)[0]
        error = (predicted.float() - clean).square().mean(dim=(1, 2, 3, 4))
        return (error / sigma.clamp_min(0.05)).mean(), self.reader.loss(text, texts)


def optimizers(trainer: Trainer, rate: float) -> list[torch.optim.Optimizer]:
    """Return Muon for the matrices inside the blocks, AdamW for everything else.

    The text encoder's relative positions are logits and must reach several units, so they learn five times as fast.
    """
    named = dict(trainer.named_parameters())
    matrices = [n for n, p in named.items() if p.ndim == 2 and (".blocks." in n or ".block." in n) and "bias" not in n]
    places = [p for n, p in named.items() if "relative_attention_bias" in n]
    others = [p for n, p in named.items() if n not in matrices and "relative_attention_bias" not in n]
    muon = torch.optim.Muon(
        [named[n] for n in matrices], lr=rate, weight_decay=0.01, adjust_lr_fn="match_rms_adamw", ns_steps=4
    )
    adam = [
        torch.optim.AdamW(some, lr=share * rate, weight_decay=0.0, betas=(0.9, 0.98))
        for some, share in zip((others, places), SHARES[1:], strict=True)
    ]
    return [muon, *adam]


def rate_at(step: int, elapsed: float, budget: float, warmup: int, cooldown: float) -> float:
    """Return the share of the peak rate: up in ``warmup`` steps, flat, down in the last ``cooldown`` of the budget."""
    left = max(0.0, 1 - elapsed / budget)
    return min(1.0, (step + 1) / warmup, left / cooldown if cooldown else 1.0)


def train(
    out: Path,
    model: TinyConfig,
    config: TrainConfig,
    *,
    minutes: float,
    cooldown: float,
    save_every: float,
    begin_with: Path | None,
) -> None:
    """Train for ``minutes`` from the checkpoint in ``out``, the pipeline ``begin_with``, or random weights."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    out.mkdir(parents=True, exist_ok=True)
    vae = autoencoder(out, begin_with)
    torch.manual_seed(0)
    trainer = Trainer(model).to(device)
    if begin_with is not None:
        trainer.copy_from(begin_with)
    average = copy.deepcopy(trainer).eval().requires_grad_(False)
    solvers = optimizers(trainer, config.learning_rate)
    step = restore(out, trainer, average, solvers, first=config.image_steps if begin_with else 0)
    for block in trainer.transformer.blocks if config.compiled else []:
        block.compile(dynamic=False)
    pool = Pool(vae, config.pool, config.pairs, seed=1000 + step)
    generator = torch.Generator().manual_seed(step)
    start = saved = time.time()
    recent: list[float] = []
    while (elapsed := time.time() - start) < 60 * minutes:
        for solver, share in zip(solvers, SHARES, strict=True):
            for group in solver.param_groups:
                group["lr"] = (
                    share * config.learning_rate * rate_at(step, elapsed, 60 * minutes, config.warmup, cooldown)
                )
        recent.append(one_step(trainer, pool, solvers, config, step, generator, device))
        blend(average, trainer, min(config.ema, (1 + step) / (10 + step)))
        step += 1
        if step % 50 == 0:
            row = {"step": step, "loss": sum(recent[-50:]) / 50, "minutes": round((time.time() - start) / 60, 2)}
            with (out / "log.jsonl").open("a") as log:
                log.write(json.dumps(row) + "\n")
        if time.time() - saved > 60 * save_every:
            save(out, trainer, average, solvers, step)
            saved = time.time()
    save(out, trainer, average, solvers, step)
    export(out, vae, average)


def one_step(
    trainer: Trainer,
    pool: Pool,
    solvers: list[torch.optim.Optimizer],
    config: TrainConfig,
    step: int,
    generator: torch.Generator,
    device: str,
) -> float:
    """Draw, add noise, predict, learn; return the loss."""
    pool.renew(config.fresh)
    images = step < config.image_steps
    wide = step % 40 == 39 and not images  # WanPipeline pads texts to 512 by default
    clean, texts = pool.sample(config.batch * 6 if images else config.batch // 4 if wide else config.batch)
    if images:
        clean = clean[:, :, :1]
    drop = torch.rand(len(texts), generator=generator) < config.text_dropout
    texts = ["" if gone else text for text, gone in zip(texts, drop.tolist(), strict=True)]
    uniform = (torch.arange(len(texts)) + torch.rand(len(texts), generator=generator)) / len(texts)
    sigma = config.sigma_shift * uniform / (1 + (config.sigma_shift - 1) * uniform)
    noise = torch.randn(clean.shape, generator=generator)
    with torch.autocast(device, torch.bfloat16), sdpa_kernel(SDPBackend.MATH if device == "cpu" else FAST):
        loss, words = trainer.loss(
            clean.to(device), texts, sigma.clamp(0.002, 1).to(device), noise.to(device), 512 if wide else 20
        )
    (loss + config.words * words).backward()
    nn.utils.clip_grad_norm_(trainer.parameters(), 1.0)
    for solver in solvers:
        solver.step()
        solver.zero_grad(set_to_none=True)
    return float(loss.detach())


@torch.no_grad()
def blend(average: nn.Module, trainer: nn.Module, decay: float) -> None:
    """Move the averaged weights towards the trained ones."""
    torch._foreach_lerp_(list(average.parameters()), list(trainer.parameters()), 1 - decay)


def autoencoder(out: Path, begin_with: Path | None = None) -> PatchAutoencoder:
    """Return the autoencoder in ``out``; if it is missing, that of ``begin_with``, else a newly fitted one."""
    folder = out / "vae"
    if not folder.exists() and begin_with is not None:
        PatchAutoencoder.from_pretrained(begin_with / "vae").save_pretrained(folder)
    if not folder.exists():
        generator = torch.Generator().manual_seed(7)
        scenes = [draw_scene(generator, things=1 + i % 2, held_out=False) for i in range(400)]
        clips = render(scenes, generator, num_frames=NATIVE_FRAMES, side=NATIVE_SIDE).movedim(2, 1)
        PatchAutoencoder.fit(clips * 2 - 1, TinyConfig().latent_channels, 2, 8).save_pretrained(folder)
    return PatchAutoencoder.from_pretrained(folder)


def save(out: Path, trainer: Trainer, average: Trainer, solvers: list[torch.optim.Optimizer], step: int) -> None:
    """Write the checkpoint, whole or not at all."""
    state = {
        "step": step,
        "trainer": trainer.state_dict(),
        "average": average.state_dict(),
        "solvers": [solver.state_dict() for solver in solvers],
    }
    torch.save(state, out / "checkpoint.tmp")
    (out / "checkpoint.tmp").replace(out / "checkpoint.pt")


def restore(out: Path, trainer: Trainer, average: Trainer, solvers: list[torch.optim.Optimizer], first: int = 0) -> int:
    """Read the checkpoint and return the step to continue from; ``first`` if there is none."""
    path = out / "checkpoint.pt"
    if not path.exists():
        return first
    state = torch.load(path, map_location="cpu", weights_only=True)
    trainer.load_state_dict(state["trainer"])
    average.load_state_dict(state["average"])
    for solver, saved in zip(solvers, state["solvers"], strict=True):
        solver.load_state_dict(saved)
    return int(state["step"])


def export(out: Path, vae: PatchAutoencoder, average: Trainer) -> None:
    """Write the averaged weights as a pipeline folder, in float16 to halve the size."""
    weights = copy.deepcopy(average)
    save_pipeline(out / "pipeline", vae, weights.text_encoder.half(), weights.transformer.half())


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for checkpoint, log and pipeline")
    parser.add_argument("--minutes", type=float, default=60.0, help="how long to train")
    parser.add_argument("--cooldown", type=float, default=0.0, help="last share of the time with a falling rate")
    parser.add_argument("--rate", type=float, default=TrainConfig.learning_rate, help="peak rate; less to polish")
    parser.add_argument("--save-every", type=float, default=4.0, help="minutes between checkpoints")
    parser.add_argument(
        "--begin-with", type=Path, help="pipeline folder whose weights to start from, without checkpoint"
    )
    parser.add_argument("--export", action="store_true", help="only write the pipeline of the checkpoint")
    args = parser.parse_args()
    model, config = TinyConfig(), TrainConfig(learning_rate=args.rate)
    if args.export:
        trainer = Trainer(model)
        average = copy.deepcopy(trainer)
        restore(args.out, trainer, average, optimizers(trainer, 1.0))
        export(args.out, autoencoder(args.out), average)
        return
    (args.out).mkdir(parents=True, exist_ok=True)
    (args.out / "config.json").write_text(json.dumps({"model": asdict(model), "train": asdict(config)}, indent=2))
    train(
        args.out,
        model,
        config,
        minutes=args.minutes,
        cooldown=args.cooldown,
        save_every=args.save_every,
        begin_with=args.begin_with,
    )


if __name__ == "__main__":
    main()
