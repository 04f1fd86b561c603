"""Loading of a model as a stock diffusers pipeline."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from genkit.attention.private import BACKEND_NAMES, CLASS_KEY, default_backend_kept
from genkit.checks.devices import check_device
from genkit.checks.values import quote
from genkit.errors import GenkitError, UsageError, first_line, is_out_of_memory, nearest
from genkit.record.visible import visible
from genkit.tiny import TINY_WEIGHTS
from genkit_video import reinstall

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def load(
    model: Any = "tiny",
    *,
    dtype: str | torch.dtype | None = None,
    device: str | None = None,
    offload: str | None = None,
    attention_backend: str | None = None,
) -> Any:
    """Open a model and return the diffusers pipeline; everything is passed on to diffusers.

    Args:
        model: ``"tiny"`` (the embedded model), a hub id, a short name that means one (``"mochi"``), a folder with a
            diffusers pipeline, or a pipeline object.
        dtype: precision of the weights; None is bfloat16 on a GPU and float32 elsewhere (a given object keeps its own).
        device: ``"cpu"``, ``"cuda"``...; None takes a GPU if there is one (a given object stays where it is).
        offload: ``"model"`` or ``"sequential"`` CPU offload (needs a GPU); None keeps all on ``device``.
        attention_backend: diffusers' name of the attention backend of the transformer; None is PyTorch's own.

    Raises:
        UsageError: an unknown model, dtype, offload or backend.
        GenkitError: the model could not be opened.
    """
    named = isinstance(model, str | Path)
    where, precision = check_device(device), None if dtype is None else _dtype(dtype)
    _check_offload(offload, where)
    if attention_backend is not None:
        _check_backend(attention_backend)
    with _explain_full_memory(str(model) if named else type(model).__name__, where):
        pipe = _open_pipeline(model, precision, where) if named else model
        _check_family(pipe)
        if not named and precision is not None:
            pipe.to(precision)
        if offload is not None:
            enable = pipe.enable_model_cpu_offload if offload == "model" else pipe.enable_sequential_cpu_offload
            enable(device=where)
        elif named or device is not None:
            pipe.to(where)
    if attention_backend is not None:
        _set_backend(pipe, attention_backend)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def _open_pipeline(model: str | Path, dtype: torch.dtype | None, device: str) -> Any:
    tiny = str(model) == "tiny"
    folder = TINY_WEIGHTS if tiny else Path(model)
    if tiny and not folder.exists():
        raise GenkitError(f"the embedded model's weights are missing from this installation; {reinstall()}")
    if not folder.is_dir() and not _looks_like_hub_id(str(model)):
        if (hub_id := _hub_id_of(str(model))) is not None:
            return _open_pipeline(hub_id, dtype, device)
        raise UsageError(
            f"there is no model {str(model)!r}: it is not 'tiny', a folder, a short name, or a hub id (owner/name); "
            f"{nearest(str(model), _known_ids())}"
        )
    from diffusers import DiffusionPipeline

    import genkit.tiny.autoencoder  # noqa: F401 - diffusers only opens a class of ours that is already imported

    precision = _natural_dtype(device, tiny) if dtype is None else dtype
    where = str(folder if folder.is_dir() else model)
    try:
        with _without_remarks(tiny):
            _check_index(where)
            # Explicit, not left to a default: a model's folder may bring code of its own.
            return DiffusionPipeline.from_pretrained(where, trust_remote_code=False, **{_dtype_argument(): precision})
    except Exception as error:  # a damaged folder can raise anything in diffusers, transformers or safetensors
        if isinstance(error, GenkitError) or is_out_of_memory(error):
            raise
        reason = visible(str(error).strip().split("\n")[0])  # the words of a hub, or of a file in the model
        raise GenkitError(f"could not open {str(model)!r} as a diffusers pipeline: {reason}") from error


def _dtype_argument() -> str:
    """Name of the argument: diffusers 0.42 calls it ``dtype`` and warns of the older name."""
    import diffusers

    major, minor = map(int, diffusers.__version__.split(".")[:2])
    return "dtype" if (major, minor) >= (0, 42) else "torch_dtype"


@contextmanager
def _without_remarks(tiny: bool) -> Iterator[None]:
    """Silence diffusers' remark that the embedded model's autoencoder is not its own class, as intended."""
    from diffusers import logging

    level = logging.get_verbosity()
    if tiny:
        logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)


def _looks_like_hub_id(name: str) -> bool:
    owner, slash, rest = name.partition("/")
    return bool(slash and owner and rest and "/" not in rest and not name.startswith((".", "~")))


def _known_ids() -> list[str]:
    from genkit.pipelines.known import checkpoints

    return [hub_id for one in checkpoints() for hub_id in one.hub_ids]


def _hub_id_of(name: str) -> str | None:
    from genkit.pipelines.names import hub_id_of

    return None if name == "tiny" else hub_id_of(name)


def _natural_dtype(device: str, tiny: bool) -> torch.dtype:
    return torch.bfloat16 if device.startswith("cuda") and not tiny else torch.float32


def _dtype(name: Any) -> torch.dtype:
    if isinstance(name, torch.dtype) and name in DTYPES.values():
        return name
    if not isinstance(name, str) or name not in DTYPES:
        raise UsageError(f"dtype={quote(name)} is unknown; {nearest(str(name), DTYPES)}")
    return DTYPES[name]


def _check_offload(offload: Any, where: str) -> None:
    if offload is None:
        return
    if offload not in ("model", "sequential"):
        raise UsageError(f"offload={quote(offload)} is unknown; {nearest(str(offload), ('model', 'sequential'))}")
    if where.startswith("cpu"):
        raise UsageError(
            f"offload={offload!r} moves parts between CPU and a GPU, and there is no GPU here; leave it out"
        )


def _check_backend(backend: Any) -> None:
    known = [name.value for name in BACKEND_NAMES.load()]
    if backend not in known:
        raise UsageError(f"attention_backend={quote(backend)} is unknown to diffusers; {nearest(str(backend), known)}")


@contextmanager
def _explain_full_memory(model: str, where: str) -> Iterator[None]:
    """Explain in a sentence that memory was full while a model was opened."""
    try:
        yield
    except Exception as error:
        if isinstance(error, GenkitError) or not is_out_of_memory(error):
            raise
        offload = "" if where.startswith("cpu") else ", or offload='model'"
        reason = visible(first_line(error))[:200]
        raise GenkitError(
            f"the memory of {where} was full when {visible(model)[:100]} was opened ({reason}); "
            f"try dtype='bfloat16' or a smaller model{offload}"
        ) from error


def _set_backend(pipe: Any, backend: str) -> None:
    model = getattr(pipe, "transformer", None)
    if model is None:
        raise UsageError(
            f"attention_backend={backend!r}: {type(pipe).__name__} has no transformer to set it on; leave it out"
        )
    try:
        with default_backend_kept():
            model.set_attention_backend(backend)
    except (ImportError, RuntimeError, ValueError) as error:
        raise UsageError(f"attention_backend={backend!r} cannot be used here: {str(error).splitlines()[0]}") from error


def _check_index(where: str) -> None:
    """Refuse a model of an unknown family by its index alone, before any weights are read or downloaded."""
    import diffusers

    from genkit.pipelines.matching import check_index

    index = diffusers.DiffusionPipeline.load_config(where)
    name = index.get(CLASS_KEY)
    pipeline = getattr(diffusers, name, None) if isinstance(name, str) else None
    if isinstance(pipeline, type):  # anything else is for diffusers to judge
        check_index(pipeline, index)


def _check_family(pipe: Any) -> None:
    from genkit.pipelines.matching import card_of

    card_of(pipe)
