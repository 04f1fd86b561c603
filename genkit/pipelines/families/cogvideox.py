"""CogVideoX."""

from dataclasses import replace
from typing import Any

from genkit.attention.facts.card import Card
from genkit.attention.facts.volume import configured, patch_of
from genkit.pipelines.pipeline_facts import PipelineFacts, Published


def _has_time_patches(pipe: Any) -> bool:
    return patch_of(getattr(pipe, "transformer", None))[0] > 1


def _longer_clips(card: Card, pipe: Any) -> Card:
    """Longer training clips are read from the configuration; only 1.5 slices its rotary table from one of a size."""
    frames = max(card.native_frames or 0, configured(card.model(pipe), "sample_frames") or 0)
    return replace(card, native_frames=frames, largest=_sliced_positions if _has_time_patches(pipe) else None)


def _sliced_positions(pipe: Any) -> tuple[int, int]:
    """CogVideoX 1.5 slices its rotary table from one of the usual size, configured in latents."""
    rows, cols = (configured(pipe.transformer, name) for name in ("sample_height", "sample_width"))
    return rows * pipe.vae_scale_factor_spatial, cols * pipe.vae_scale_factor_spatial


FAMILIES = (
    PipelineFacts(
        name="cogvideox",
        models=("CogVideoXTransformer3DModel",),
        prompts="pairs",
        branches="halves",
        read=_longer_clips,
        published=(
            Published(
                family="cogvideox1.5",
                title="CogVideoX 1.5",
                when=_has_time_patches,
                native_frames=81,
                fps=16,
                multiple=8,
                hub_ids=("THUDM/CogVideoX1.5-5B",),
                licence="cogvideox",
            ),
            Published(
                family="cogvideox",
                title="CogVideoX",
                native_frames=49,
                fps=8,
                multiple=8,
                hub_ids=("THUDM/CogVideoX-2b", "THUDM/CogVideoX-5b"),
                licence="Apache-2.0 (2b), cogvideox (5b)",
            ),
        ),
    ),
)
