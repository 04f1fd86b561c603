"""CogVideoX: from text, images, videos and control videos; ConsisID."""

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


def _published(kind: str, long: dict[str, float], short: dict[str, float], licence: str) -> tuple[Published, ...]:
    """Return the checkpoints of one kind, with and without patches in time, by hub id with billions of parameters;
    ``kind`` follows family and title."""
    family, title = (f"-{kind.lower()}", f" {kind}") if kind else ("", "")
    return (
        Published(
            family=f"cogvideox1.5{family}",
            title=f"CogVideoX 1.5{title}",
            when=_has_time_patches,
            native_frames=81,
            fps=16,
            multiple=8,
            hub_ids=tuple(long),
            parameters=long,
            licence="cogvideox",
        ),
        Published(
            family=f"cogvideox{family}",
            title=f"CogVideoX{title}",
            native_frames=49,
            fps=8,
            multiple=8,
            hub_ids=tuple(short),
            parameters=short,
            licence=licence,
        ),
    )


TEXT_TO_VIDEO = _published(
    "",
    {"THUDM/CogVideoX1.5-5B": 5.571},
    {"THUDM/CogVideoX-2b": 1.694, "THUDM/CogVideoX-5b": 5.57},
    "Apache-2.0 (2b), cogvideox (5b)",
)
IMAGE_TO_VIDEO = _published("I2V", {"THUDM/CogVideoX1.5-5B-I2V": 5.571}, {"THUDM/CogVideoX-5b-I2V": 5.571}, "cogvideox")


def _cogvideox(name: str, *needs: str, published: tuple[Published, ...], given: str | None = None) -> PipelineFacts:
    return PipelineFacts(
        name=name,
        models=("CogVideoXTransformer3DModel",),
        needs=frozenset(needs),
        prompts="pairs",
        branches="halves",
        given=given,
        read=_longer_clips,
        published=published,
    )


FAMILIES = (
    _cogvideox("cogvideox", published=TEXT_TO_VIDEO),
    _cogvideox("cogvideox-i2v", "image", published=IMAGE_TO_VIDEO),
    _cogvideox(
        "cogvideox-v2v",
        "video",
        "strength",
        published=TEXT_TO_VIDEO,
        given="those contain the video that it changes",
    ),
    PipelineFacts(
        name="consisid",
        models=("ConsisIDTransformer3DModel",),
        prompts="pairs",
        branches="halves",
        published=(
            Published(
                family="consisid",
                title="ConsisID",
                native_frames=49,
                fps=8,
                multiple=8,
                hub_ids=("BestWishYsh/ConsisID-preview",),
                licence="Apache-2.0, cogvideox for the model it was made from",
            ),
        ),
    ),
)
