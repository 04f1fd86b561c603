"""``tiny-unet`` as it learns: velocities of single frames' latents, with temporal attention between them."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from diffusers import AnimateDiffPipeline
from torch import Tensor, nn

from genkit.tiny.autoencoder import PatchAutoencoder
from genkit.tiny.build import TinyConfig, build_text_encoder, build_tokenizer, save_pipeline
from genkit.tiny.evaluate import EvaluateConfig, evaluate
from genkit.tiny.models.frames import FrameAutoencoder
from genkit.tiny.models.unet import TEXT_TOKENS, assemble_unet_pipeline, build_ddim, build_unet
from genkit.tiny.motions import UNET_FRAMES, World
from genkit.tiny.tally import summarise
from genkit.tiny.training.clips import Clips
from genkit.tiny.training.config import TrainConfig
from genkit.tiny.training.flow import WATCHED, drop_texts, spread_sigmas
from genkit.tiny.training.learner import Learner
from genkit.tiny.training.words import WordReader


class UnetLearner(Learner):
    """Text encoder and UNet, the reader of words, and the loss that trains all of them."""

    signal: Tensor
    """Share of the signal after each step of the schedule, float32 ``[steps]``."""

    def __init__(self, model: TinyConfig, world: World) -> None:
        super().__init__(world)
        self.tokenizer = build_tokenizer(world)
        self.text_encoder = build_text_encoder(model, len(self.tokenizer))
        self.unet = build_unet(model)
        self.reader = WordReader(model.text_width)
        self.register_buffer("signal", build_ddim().alphas_cumprod, persistent=False)

    def blocks(self) -> Iterable[nn.Module]:
        """Return the modules that are worth compiling."""
        return [*self.unet.down_blocks, self.unet.mid_block, *self.unet.up_blocks]

    def pipeline(self, vae: PatchAutoencoder) -> AnimateDiffPipeline:
        """Return the stock pipeline of these weights."""
        return assemble_unet_pipeline(FrameAutoencoder.of(vae), self.text_encoder, self.unet, self.world)

    def watch(self, vae: PatchAutoencoder, prompts: int) -> dict[str, Any]:
        """Return the shares of right attributes, by kind of prompt, that the oracle reads in held-out clips."""
        device = next(self.parameters()).device
        config = EvaluateConfig(prompts=prompts, seed=WATCHED, batch=12)
        with torch.autocast(device.type, torch.bfloat16):
            rows = summarise(evaluate(self.pipeline(vae).to(device), config))
        return {name: {column: round(s.share, 3) for column, s in row.items()} for name, row in rows.items()}

    def export(self, out: Path, vae: PatchAutoencoder) -> None:
        """Write a pipeline folder, in float16 to halve the size."""
        self.text_encoder.half()
        self.unet.half()
        save_pipeline(out / "pipeline", self.pipeline(vae))

    def clips(self, vae: PatchAutoencoder, config: TrainConfig) -> Clips:
        """Return clips of native length whose frames are encoded one by one."""
        frames = FrameAutoencoder.of(vae)

        def encode(video: Tensor) -> Tensor:
            return frames.project(video.transpose(1, 2).flatten(0, 1)).unflatten(0, (len(video), -1)).transpose(1, 2)

        return Clips(encode, self.world, UNET_FRAMES, config)

    def loss(self, clean: Tensor, texts: list[str], time: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Return the squared error of the predicted velocity, and the loss of the words.

        ``time`` is ``[B]``, int64 steps of the schedule; the velocity is that of Salimans and Ho, arXiv 2202.00512.
        """
        tokens = self.tokenizer(texts, padding="max_length", max_length=TEXT_TOKENS, return_tensors="pt")
        tokens = tokens.to(clean.device)
        text = self.text_encoder(tokens.input_ids, tokens.attention_mask).last_hidden_state
        keep = self.signal[time][:, None, None, None, None]
        a, s = keep.sqrt(), (1 - keep).sqrt()
        every = text.repeat_interleave(clean.shape[2], 0)  # the UNet takes a text for each frame
        predicted = self.unet(a * clean + s * noise, time, every).sample
        return (predicted.float() - (a * noise - s * clean)).square().mean(), self.reader.loss(text, texts)

    def learn(self, clips: Any, config: TrainConfig, step: int, device: str) -> float:
        """Draw what a step learns from, add noise, predict and compute gradients; return the loss."""
        generator = torch.Generator().manual_seed(step)
        clean, texts = clips.sample(config.batch, generator)
        texts = drop_texts(texts, config.text_dropout, generator)
        share = spread_sigmas(config.batch, config.sigma_shift, generator)
        time = (share * len(self.signal)).long().clamp_max(len(self.signal) - 1)
        noise = torch.randn(clean.shape, generator=generator)
        with torch.autocast(device, torch.bfloat16):
            loss, words = self.loss(clean.to(device), texts, time.to(device), noise.to(device))
        (loss + config.words * words).backward()
        return float(loss.detach())
