"""The embedded model as it learns: flow matching with clean latents as the target, captions dropped for guidance."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from diffusers import WanPipeline
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from genkit.tiny.autoencoder import PatchAutoencoder
from genkit.tiny.build import (
    TinyConfig,
    assemble_pipeline,
    build_text_encoder,
    build_tokenizer,
    build_transformer,
    save_pipeline,
)
from genkit.tiny.evaluate import EvaluateConfig, evaluate
from genkit.tiny.motions import World
from genkit.tiny.tally import summarise
from genkit.tiny.training.clips import Clips
from genkit.tiny.training.config import TrainConfig
from genkit.tiny.training.learner import Learner
from genkit.tiny.training.words import WordReader

FAST = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]
TEXT_TOKENS = 20
"""Length of texts; the longest caption has fewer tokens."""
WIDE_TOKENS = 512
"""Length of texts in every fortieth step: ``WanPipeline`` pads to it by default."""


WATCHED = 77
"""Seed of the prompts of the running evaluation, which differ from those of the final one."""


class FlowLearner(Learner):
    """Text encoder and transformer, the reader of words, and the loss that trains all of them."""

    def __init__(self, model: TinyConfig, world: World) -> None:
        super().__init__(world)
        self.tokenizer = build_tokenizer(world)
        self.text_encoder = build_text_encoder(model, len(self.tokenizer))
        self.transformer = build_transformer(model)
        self.reader = WordReader(model.text_width)

    def copy_from(self, pipeline: Path) -> None:
        """Load the weights of a pipeline folder of the same size."""
        copy_weights(self.text_encoder, pipeline / "text_encoder")
        copy_weights(self.transformer, pipeline / "transformer")

    def blocks(self) -> Iterable[nn.Module]:
        """Return the modules that are worth compiling."""
        return self.transformer.blocks

    def pipeline(self, vae: PatchAutoencoder) -> WanPipeline:
        """Return the stock pipeline of these weights."""
        return assemble_pipeline(vae, self.text_encoder, self.transformer, self.world)

    def sampling(self) -> dict[str, Any]:
        """Return how clips are sampled for the running evaluation."""
        return {}

    def watch(self, vae: PatchAutoencoder, prompts: int) -> dict[str, Any]:
        """Return the shares of right attributes, by kind of prompt, that the oracle reads in held-out clips."""
        device = next(self.parameters()).device
        config = EvaluateConfig(prompts=prompts, seed=WATCHED, batch=12, **self.sampling())
        with torch.autocast(device.type, torch.bfloat16):
            rows = summarise(evaluate(self.pipeline(vae).to(device), config))
        return {name: {column: round(s.share, 3) for column, s in row.items()} for name, row in rows.items()}

    def export(self, out: Path, vae: PatchAutoencoder) -> None:
        """Write a pipeline folder, in float16 to halve the size."""
        self.text_encoder.half()
        self.transformer.half()
        save_pipeline(out / "pipeline", self.pipeline(vae))

    def encode(self, texts: list[str], length: int, device: torch.device) -> Tensor:
        """Return the encodings ``[B, L, width]`` of texts, zero where there is no word, as ``WanPipeline`` pads."""
        tokens = self.tokenizer(texts, padding="max_length", max_length=length, return_tensors="pt").to(device)
        text: Tensor = self.text_encoder(tokens.input_ids, tokens.attention_mask).last_hidden_state
        return text * tokens.attention_mask[..., None]

    def loss(self, clean: Tensor, texts: list[str], sigma: Tensor, noise: Tensor, length: int) -> tuple[Tensor, Tensor]:
        """Return the squared error of the predicted clean latents, weighted by 1 / sigma, and the loss of the words.

        ``sigma`` is ``[B]`` in (0, 1].
        """
        text = self.encode(texts, length, clean.device)
        s = sigma[:, None, None, None, None]
        noisy = (1 - s) * clean + s * noise
        predicted = self.transformer(noisy, (sigma * 1000).long(), text, return_dict=False)[0]
        error = (predicted.float() - clean).square().mean(dim=(1, 2, 3, 4))
        return (error / sigma.clamp_min(0.05)).mean(), self.reader.loss(text, texts)

    def clips(self, vae: PatchAutoencoder, config: TrainConfig) -> Any:
        """Return clips of native length."""
        std = torch.tensor(vae.config.latents_std)[:, None, None, None]
        return Clips(lambda video: vae.project(video) / std, self.world, self.world.native_frames, config)

    def learn(self, clips: Any, config: TrainConfig, step: int, device: str) -> float:
        """Draw what a step learns from, add noise, predict and compute gradients; return the loss.

        All is drawn from the number of the step, and nothing from what was drawn before.
        """
        generator = torch.Generator().manual_seed(step)
        images = step < config.image_steps
        wide = step % 40 == 39 and not images
        share = 1.0 if images or wide else config.length(step)
        frames = 1 if images else 1 + round(share * (clips.latents.shape[2] - 1))
        count = config.batch * 6 if images else config.batch // 4 if wide else round(config.batch / share)
        clean, texts = clips.sample(count, generator)
        clean = clean[:, :, :frames]
        texts = drop_texts(texts, config.text_dropout, generator)
        sigma = spread_sigmas(count, config.sigma_shift, generator)
        noise = torch.randn(clean.shape, generator=generator)
        with torch.autocast(device, torch.bfloat16), sdpa_kernel(SDPBackend.MATH if device == "cpu" else FAST):
            length = WIDE_TOKENS if wide else TEXT_TOKENS
            loss, words = self.loss(clean.to(device), texts, sigma.to(device), noise.to(device), length)
        (loss + config.words * words).backward()
        return float(loss.detach())


def copy_weights(part: Any, folder: Path) -> None:
    """Load the weights of one part of a pipeline; rows of words that it does not know stay as they are."""
    mine = part.state_dict()
    for name, value in type(part).from_pretrained(folder).float().state_dict().items():
        mine[name][: len(value)] = value


def drop_texts(texts: list[str], share: float, generator: torch.Generator) -> list[str]:
    """Return texts of which a share is replaced by the empty one, as guidance needs it."""
    drop = torch.rand(len(texts), generator=generator) < share
    return ["" if gone else text for text, gone in zip(texts, drop.tolist(), strict=True)]


def spread_sigmas(count: int, shift: float, generator: torch.Generator) -> Tensor:
    """Return noise levels ``[count]`` in (0, 1], one in each of ``count`` equal parts, shifted to high noise."""
    uniform = (torch.arange(count) + torch.rand(count, generator=generator)) / count
    return (shift * uniform / (1 + (shift - 1) * uniform)).clamp(0.002, 1)
