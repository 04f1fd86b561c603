"""Real-size transformers with random weights, and the arguments of one forward as the stock pipelines pass them."""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from genkit.benchmarks.timing.random_tensors import places, smooth
from genkit.benchmarks.timing.real_models import RealModel

REACH = (0.3, 0.2, 0.2)
"""Correlation length of the latents, as shares of the video."""
NOISE = 0.7
"""Standard deviation of the noise on them: about the middle of a run."""
WORDS = 64
"""Text tokens of HunyuanVideo that are not padding."""
STEPS, STEP = 50, 30
"""Solver steps of the run, and the timed one: past every warm-up."""


def pipeline_of(model: RealModel, dtype: torch.dtype, device: torch.device, seed: int) -> Any:
    """Build the family's stock pipeline around a transformer with random weights, without encoders and decoder.

    The scheduler is always DDIM: its place in a run follows from the timestep alone, and the solver is not timed.
    """
    import diffusers

    with torch.random.fork_rng(), _default_to(dtype, device):
        torch.manual_seed(seed)
        transformer = getattr(diffusers, model.transformer)(**configuration(model))
    scheduler = diffusers.DDIMScheduler()
    scheduler.set_timesteps(STEPS)
    pipeline = getattr(diffusers, model.pipeline)
    needed = [x.name for x in inspect.signature(pipeline).parameters.values() if x.default is x.empty]
    parts = dict.fromkeys(needed) | {"transformer": transformer.eval(), "scheduler": scheduler}
    return pipeline(**parts)


def configuration(model: RealModel) -> dict[str, Any]:
    """Return the arguments of the transformer's class."""
    size = {"num_attention_heads": model.heads, "attention_head_dim": model.width}
    if model.family == "cogvideox":
        _, rows, cols = model.volume
        size |= {"max_text_seq_length": model.text, "sample_height": 2 * rows, "sample_width": 2 * cols}
    return size | model.layers | model.by_heads | model.config


@contextmanager
def _default_to(dtype: torch.dtype, device: torch.device) -> Iterator[None]:
    """Create new parameters directly in this dtype on this device: 14 billion of them fit only once."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            yield
    finally:
        torch.set_default_dtype(before)


def parameters_of(transformer: nn.Module) -> int:
    """Return the number of parameters of the transformer."""
    return sum(x.numel() for x in transformer.parameters())


def arguments(model: RealModel, pipe: Any, dtype: torch.dtype, device: torch.device, seed: int) -> dict[str, Any]:
    """Return the arguments of one forward of the transformer at the timed step."""
    make = torch.Generator(device).manual_seed(seed)
    given = _ARGUMENTS[model.family](model, dtype, device, make)
    timestep = pipe.scheduler.timesteps[STEP].to(device).expand(model.batch)
    return given | {"timestep": timestep, "return_dict": False}


def _latents(model: RealModel, channels: int, patch: int, dtype: torch.dtype, make: torch.Generator) -> Tensor:
    """Draw smooth fields with noise, ``[batch, channels, frames, rows * patch, cols * patch]``."""
    place = places(model.grid, make.device)
    frames, rows, cols = model.volume
    field = smooth(place, REACH, channels, make).T.unflatten(1, (frames, rows, cols))
    field = field.repeat_interleave(patch, 2).repeat_interleave(patch, 3)
    noise = torch.randn(model.batch, *field.shape, generator=make, device=make.device)
    return (field + NOISE * noise).to(dtype)


def _text(model: RealModel, tokens: int, channels: int, dtype: torch.dtype, make: torch.Generator) -> Tensor:
    return torch.randn(model.batch, tokens, channels, generator=make, device=make.device).to(dtype)


def _wan(model: RealModel, dtype: torch.dtype, device: torch.device, make: torch.Generator) -> dict[str, Any]:
    return {
        "hidden_states": _latents(model, 16, 2, dtype, make),
        "encoder_hidden_states": _text(model, 512, 4096, dtype, make),
    }


def _hunyuan(model: RealModel, dtype: torch.dtype, device: torch.device, make: torch.Generator) -> dict[str, Any]:
    """Return the arguments with a mask of the padded words, as always in the pipeline; it rules out SDPA's flash."""
    words = torch.arange(model.text, device=device) < min(WORDS, model.text)
    return {
        "hidden_states": _latents(model, 16, 2, dtype, make),
        "encoder_hidden_states": _text(model, model.text, 4096, dtype, make),
        "encoder_attention_mask": words[None].to(dtype),
        "pooled_projections": _text(model, 1, 768, dtype, make)[:, 0],
        "guidance": torch.full((1,), 6000.0, dtype=dtype, device=device),
    }


def _cogvideox(model: RealModel, dtype: torch.dtype, device: torch.device, make: torch.Generator) -> dict[str, Any]:
    from diffusers.models.embeddings import get_3d_rotary_pos_embed

    frames, rows, cols = model.volume
    rotary = None
    if model.config.get("use_rotary_positional_embeddings"):
        rotary = get_3d_rotary_pos_embed(
            embed_dim=model.width,
            crops_coords=((0, 0), (rows, cols)),
            grid_size=(rows, cols),
            temporal_size=frames,
            device=device,
        )
    return {
        "hidden_states": _latents(model, 16, 2, dtype, make).transpose(1, 2),
        "encoder_hidden_states": _text(model, model.text, 4096, dtype, make),
        "image_rotary_emb": rotary,
    }


def _ltx(model: RealModel, dtype: torch.dtype, device: torch.device, make: torch.Generator) -> dict[str, Any]:
    """Return the arguments with packed tokens; positions are in pixels and seconds: strides 8 and 32, 25 fps."""
    frames, rows, cols = model.volume
    return {
        "hidden_states": _latents(model, 128, 1, dtype, make).flatten(2).mT,
        "encoder_hidden_states": _text(model, 128, 4096, dtype, make),
        "encoder_attention_mask": torch.ones(model.batch, 128, dtype=torch.bool, device=device),
        "num_frames": frames,
        "height": rows,
        "width": cols,
        "rope_interpolation_scale": (8 / 25, 32, 32),
    }


_ARGUMENTS = {"wan": _wan, "hunyuanvideo": _hunyuan, "cogvideox": _cogvideox, "ltx": _ltx}
