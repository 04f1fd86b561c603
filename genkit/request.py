"""What a user asks for: one schema for the command line, the page, the file and the library."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class Request(BaseModel):
    """Everything that decides a video; None means the model's own default."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    prompt: str | list[dict[str, Any]] = Field(
        description="What the video shows: a text, or events with prompt, start and end in seconds."
    )
    negative_prompt: str | None = Field(None, description="What it should not show.")
    model: str = Field("tiny", description="'tiny', a hub id, or a folder with a diffusers pipeline.")
    plugins: tuple[str, ...] = Field((), description="Plug-ins such as 'radial:density=0.3'.")
    num_frames: int | None = Field(None, description="Pixel frames of the video.")
    height: int | None = Field(None, description="Height in pixels.")
    width: int | None = Field(None, description="Width in pixels.")
    num_inference_steps: int | None = Field(None, description="Solver steps.")
    guidance_scale: float | None = Field(None, description="Strength of classifier-free guidance; 1 is none.")
    seed: int | None = Field(None, description="Seed of the noise; none draws one, reports it and stores it.")
    fps: float | None = Field(None, description="Pixel frames a second.")
    dtype: Literal["float32", "float16", "bfloat16"] | None = Field(None, description="Precision of the weights.")
    device: str | None = Field(None, description="'cpu', 'cuda', 'cuda:1', 'mps'; none takes a GPU if there is one.")
    offload: Literal["model", "sequential"] | None = Field(None, description="Keep idle parts in CPU memory.")
    attention_backend: str | None = Field(
        None, description="diffusers' name of the attention backend, such as 'flash'."
    )
    options: dict[str, Any] = Field(default_factory=dict, description="Further arguments of the pipeline's call.")
