"""What a user asks for: one schema for the command line, the page, the file and the library."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from genkit import values
from genkit.schedulers.seeds import checked_seed

WHOLE = ("num_frames", "height", "width", "num_inference_steps")
"""Fields that are whole numbers of at least 1."""
REAL = ("guidance_scale", "fps")
"""Fields that are finite numbers of at least 0."""
TEXTS = ("prompt", "negative_prompt", "model", "device", "attention_backend")
"""Fields that are texts; the prompt may be a list of events as well."""


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
    seed: int | None = Field(None, description="Seed of the noise, below 2**64; none draws one and stores it.")
    fps: float | None = Field(None, description="Pixel frames a second.")
    dtype: Literal["float32", "float16", "bfloat16"] | None = Field(None, description="Precision of the weights.")
    device: str | None = Field(None, description="'cpu', 'cuda', 'cuda:1', 'mps'; none takes a GPU if there is one.")
    offload: Literal["model", "sequential"] | None = Field(None, description="Keep idle parts in CPU memory.")
    attention_backend: str | None = Field(
        None, description="diffusers' name of the attention backend, such as 'flash'."
    )
    options: dict[str, Any] = Field(default_factory=dict, description="Further arguments of the pipeline's call.")

    @field_validator(*WHOLE, *REAL, "seed", mode="before")
    @classmethod
    def _plain(cls, value: Any, info: ValidationInfo) -> Any:
        """Numbers of NumPy and torch as Python's own; True and False are no numbers here."""
        if isinstance(value, bool | bytes) or values.is_tensor(value):
            name = str(info.field_name)
            return values.real(name, value) if name in REAL else values.whole(name, value, least=None)
        return value

    @field_validator(*WHOLE)
    @classmethod
    def _whole(cls, value: int | None, info: ValidationInfo) -> int | None:
        return None if value is None else values.whole(str(info.field_name), value)

    @field_validator(*REAL)
    @classmethod
    def _real(cls, value: float | None, info: ValidationInfo) -> float | None:
        return None if value is None else values.real(str(info.field_name), value, least=0)

    @field_validator("seed")
    @classmethod
    def _seed(cls, value: int | None) -> int | None:
        return checked_seed(value)

    @field_validator(*TEXTS, mode="before")
    @classmethod
    def _no_bytes(cls, value: Any, info: ValidationInfo) -> Any:
        return values.text(str(info.field_name), value) if isinstance(value, bytes) else value

    @field_validator(*TEXTS)
    @classmethod
    def _text(cls, value: Any, info: ValidationInfo) -> Any:
        """Letters that every tokenizer and file can hold."""
        for text in value if isinstance(value, list) else [value]:
            said = text.get("prompt") if isinstance(text, dict) else text
            if isinstance(said, str):
                values.text(str(info.field_name), said)
        return value
