"""The request: one schema for the command line, the page, the file and the library."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from genkit.checks import values
from genkit.errors import UsageError, nearest
from genkit.inputs.record import check_record
from genkit.inputs.values import check_resize, check_strength
from genkit.inputs.words import MEDIA, WORDS, Resize
from genkit.opening.files import as_texts
from genkit.schedulers.seeds import check_seed

WHOLE = ("num_frames", "height", "width", "num_inference_steps")
"""Fields that are whole numbers of at least 1."""
REAL = ("guidance_scale", "fps", "flow_shift")
"""Fields that are finite numbers of at least 0."""
CALL = (*WHOLE, "negative_prompt", "guidance_scale", "seed", "fps", *WORDS, "resize")
"""Fields that are arguments of ``Handle.generate``, other than the prompt."""
FILES = ("weights", "lora")
"""Fields that name files, as texts such as ``"style.safetensors:0.8"``."""
OPENING = (
    *("model", "dtype", "device", "offload", "attention_backend", "base", *FILES),
    *("quantize", "scheduler", "flow_shift", "layerwise", "compile"),
)
"""Fields that are arguments of ``genkit.load``."""
TEXTS = ("prompt", "negative_prompt", "model", "device", "attention_backend", "base", "scheduler")
"""Fields that are text; the prompt may also be a list of events."""

File = str | dict[str, str]
"""A path; in a recipe the path and the SHA-256 of the file, or a description of what a program gave."""


def _input(word: str) -> Any:
    """Return the field of one input."""
    return Field(None, description=WORDS[word].about)


class RequestError(UsageError):
    """A request with invalid fields."""

    def __init__(self, wrong: Mapping[str, str]) -> None:
        super().__init__(next(iter(wrong.values())))
        self.wrong = dict(wrong)
        """Errors by field, a sentence each."""


class Request(BaseModel):
    """Everything that determines a video; None means the model's own default.

    Raises:
        RequestError: a field is unknown, missing or invalid; however the request is made.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    prompt: str | list[dict[str, Any]] = Field(
        description="What the video shows: a text, or events with prompt, start and end in seconds."
    )
    negative_prompt: str | None = Field(None, description="What the video should not show.")
    model: str = Field("tiny", description="'tiny', a hub id, or a folder with a diffusers pipeline.")
    plugins: tuple[str, ...] = Field((), description="Plug-ins such as 'radial:density=0.3'.")
    num_frames: int | None = Field(None, description="Pixel frames of the video.")
    height: int | None = Field(None, description="Height in pixels.")
    width: int | None = Field(None, description="Width in pixels.")
    num_inference_steps: int | None = Field(None, description="Solver steps.")
    guidance_scale: float | None = Field(None, description="Strength of classifier-free guidance; 1 is none.")
    seed: int | None = Field(None, description="Seed of the noise, below 2**64; none draws one and stores it.")
    fps: float | None = Field(None, description="Pixel frames per second.")
    image: File | None = _input("image")
    last_image: File | None = _input("last_image")
    video: File | list[File] | None = _input("video")
    mask: File | list[File] | None = _input("mask")
    audio: File | None = _input("audio")
    reference: File | list[File] | None = _input("reference")
    control: File | list[File] | None = _input("control")
    pose_video: File | list[File] | None = _input("pose_video")
    face_video: File | list[File] | None = _input("face_video")
    background: File | list[File] | None = _input("background")
    strength: float | None = _input("strength")
    resize: Resize | None = Field(
        None, description="How images of another shape are resized: crop (the default), fit (stretched) or pad."
    )
    dtype: Literal["float32", "float16", "bfloat16"] | None = Field(None, description="Precision of the weights.")
    device: str | None = Field(None, description="'cpu', 'cuda', 'cuda:1', 'mps'; none takes a GPU if there is one.")
    offload: Literal["model", "sequential", "group"] | None = Field(None, description="Keep idle parts in CPU memory.")
    attention_backend: str | None = Field(
        None, description="diffusers' name of the attention backend, such as 'flash'."
    )
    base: str | None = Field(None, description="Pipeline (folder, hub id) of the other parts, if the model is a file.")
    weights: tuple[str, ...] | None = Field(
        None, description="Parts from single files: FILE, or COMPONENT=FILE; repeatable."
    )
    lora: tuple[str, ...] | None = Field(None, description="LoRA: FILE, or FILE:WEIGHT; repeatable.")
    quantize: Literal["int8", "float8"] | None = Field(None, description="Quantise the denoising model, by torchao.")
    scheduler: str | None = Field(None, description="Another solver, such as 'lcm'; none is the checkpoint's own.")
    flow_shift: float | None = Field(None, description="Shift of the noise levels; none is the checkpoint's own.")
    layerwise: Literal["float8"] | None = Field(None, description="Store weights so, and compute in dtype.")
    compile: Literal["blocks", "model"] | None = Field(None, description="What torch.compile compiles.")
    options: dict[str, Any] = Field(default_factory=dict, description="Other arguments of the pipeline's call.")

    def __init__(self, **values: Any) -> None:
        with _in_a_sentence():
            super().__init__(**values)

    @classmethod
    def model_validate(cls, obj: Any, **how: Any) -> Self:
        """Make a request from a mapping."""
        with _in_a_sentence():
            return super().model_validate(obj, **how)

    @classmethod
    def model_validate_json(cls, json_data: str | bytes | bytearray, **how: Any) -> Self:
        """Make a request from the text of a JSON object."""
        with _in_a_sentence():
            return super().model_validate_json(json_data, **how)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Make a request that differs in the fields of ``update``, which are checked as in every request."""
        same = super().model_copy(deep=deep)
        fields = {name: getattr(same, name) for name in same.model_fields_set}
        return type(self)(**{**fields, **update}) if update else same

    @classmethod
    def of_call(cls, arguments: Mapping[str, Any], **fields: Any) -> Self:
        """Return the request whose ``arguments()`` are these, with the other fields as given."""
        own = {name: value for name, value in arguments.items() if name in CALL}
        options = {name: value for name, value in arguments.items() if name not in CALL}
        return cls(**own, **fields, options=options)

    def arguments(self) -> dict[str, Any]:
        """Return the arguments of ``Handle.generate`` other than prompt and ``on_event``: fields, then ``options``."""
        return {name: getattr(self, name) for name in CALL} | self.options

    def opening(self) -> dict[str, Any]:
        """Return the arguments of ``genkit.load``."""
        return {name: getattr(self, name) for name in OPENING}

    @field_validator("options")
    @classmethod
    def _only_further(cls, value: dict[str, Any]) -> dict[str, Any]:
        for name in value:
            if name in ("prompt", *CALL):
                raise ValueError(f"options contains {name!r}, which is a field of the request; set it there")
        return value

    @field_validator("plugins", mode="before")
    @classmethod
    def _texts(cls, value: Any) -> Any:
        if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
            raise ValueError(f"plugins={values.quote(value)} must be a list of texts such as 'radial:density=0.3'")
        return value

    @field_validator(*FILES, mode="before")
    @classmethod
    def _files(cls, value: Any, info: ValidationInfo) -> Any:
        return None if value is None else as_texts(str(info.field_name), value) or None

    @field_validator(*WHOLE, *REAL, "seed", mode="before")
    @classmethod
    def _plain(cls, value: Any, info: ValidationInfo) -> Any:
        """Convert numbers of NumPy and torch to Python's own; True and False do not count as numbers here."""
        if isinstance(value, bool | bytes) or values.is_tensor(value):
            name = str(info.field_name)
            return values.real(name, value) if name in REAL else values.whole(name, value, minimum=None)
        return value

    @field_validator(*WHOLE)
    @classmethod
    def _whole(cls, value: int | None, info: ValidationInfo) -> int | None:
        return None if value is None else values.whole(str(info.field_name), value)

    @field_validator(*REAL)
    @classmethod
    def _real(cls, value: float | None, info: ValidationInfo) -> float | None:
        return None if value is None else values.real(str(info.field_name), value, minimum=0)

    @field_validator(*MEDIA, mode="before")
    @classmethod
    def _record(cls, value: Any, info: ValidationInfo) -> Any:
        return None if value is None else check_record(str(info.field_name), value)

    @field_validator("strength", "resize", mode="before")
    @classmethod
    def _of_inputs(cls, value: Any, info: ValidationInfo) -> Any:
        if info.field_name == "strength":
            return check_strength(_number(value))
        return None if value is None else check_resize(value)

    @field_validator("seed")
    @classmethod
    def _seed(cls, value: int | None) -> int | None:
        return check_seed(value)

    @field_validator(*TEXTS, mode="before")
    @classmethod
    def _no_bytes(cls, value: Any, info: ValidationInfo) -> Any:
        return values.text(str(info.field_name), value) if isinstance(value, bytes) else value

    @field_validator(*TEXTS)
    @classmethod
    def _text(cls, value: Any, info: ValidationInfo) -> Any:
        """Check for characters that not every tokenizer and file can store."""
        for text in value if isinstance(value, list) else [value]:
            said = text.get("prompt") if isinstance(text, dict) else text
            if isinstance(said, str):
                values.text(str(info.field_name), said)
        return value


def _number(value: Any) -> Any:
    """Return a text of a command line as the number that it is; anything else unchanged."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


@contextmanager
def _in_a_sentence() -> Iterator[None]:
    """Turn pydantic's errors into one sentence for each field."""
    try:
        yield
    except ValidationError as error:
        wrong: dict[str, str] = {}
        for problem in error.errors(include_url=False):
            found = problem.get("ctx", {}).get("error")
            if isinstance(found, RequestError):  # from __init__, which pydantic calls from its other entry points
                raise found from None
            wrong.setdefault(_place(problem), _sentence(problem))
        raise RequestError(wrong) from None


def _place(problem: Any) -> str:
    return str(problem["loc"][0]) if problem["loc"] else ""


def _sentence(problem: Any) -> str:
    place = _place(problem)
    if not place:
        return f"a request is a mapping of fields, in JSON an object, and {values.quote(problem['input'])} is none"
    if place == "prompt" and problem["type"].endswith("_type"):
        return f"prompt={values.quote(problem['input'])} must be a text, or a list of events as mappings with a prompt"
    if problem["type"] == "extra_forbidden":
        return f"a request has no field {place!r}; {nearest(place, Request.model_fields)}"
    if problem["type"] == "missing":
        return f"the request has no {place}; give one"
    if problem["type"] == "value_error":  # a sentence of our own, which names the field
        return str(problem["ctx"]["error"])
    said = problem["msg"]
    return f"{place}={values.quote(problem['input'])} cannot be used: {said[:1].lower()}{said[1:]}"
