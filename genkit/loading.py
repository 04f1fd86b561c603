"""Loading of a model as a stock diffusers pipeline."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from genkit.attention.private import BACKEND_NAMES, default_backend_kept
from genkit.checks.devices import check_device
from genkit.checks.values import quote
from genkit.errors import GenkitError, UsageError, first_line, is_out_of_memory, nearest
from genkit.opening.files import NamedFile, is_weights, read_loras, read_weights
from genkit.opening.lora import add_loras, check_peft
from genkit.opening.parts import base_missing, check_gguf
from genkit.opening.pipeline import open_pipeline
from genkit.opening.quantised import check_quantize
from genkit.opening.solver import check_solver, set_solver
from genkit.opening.stated import Opened, set_opened
from genkit.opening.stored import cast_layers, check_stored, compile_models, place
from genkit.pipelines.matching import card_of
from genkit.record.visible import visible

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def load(
    model: Any = "tiny",
    *,
    dtype: str | torch.dtype | None = None,
    device: str | None = None,
    offload: str | None = None,
    attention_backend: str | None = None,
    base: str | Path | None = None,
    weights: Any = None,
    lora: Any = None,
    quantize: str | None = None,
    scheduler: str | None = None,
    flow_shift: float | None = None,
    layerwise: str | None = None,
    compile: str | None = None,
) -> Any:
    """Open a model and return the diffusers pipeline; everything is passed on to diffusers.

    Args:
        model: ``"tiny"`` (the embedded model), a hub id, a short name that means one (``"mochi"``), a folder with a
            diffusers pipeline, a ``.safetensors`` or ``.gguf`` file with the denoising model (then with ``base``), or a
            pipeline object.
        dtype: precision of the weights; None is bfloat16 on a GPU and float32 elsewhere (a given object keeps its own).
        device: ``"cpu"``, ``"cuda"``...; None takes a GPU if there is one (a given object stays where it is).
        offload: ``"model"``, ``"sequential"`` or ``"group"`` CPU offload (needs a GPU); None keeps all on ``device``.
        attention_backend: diffusers' name of the attention backend of the transformer; None is PyTorch's own.
        base: folder or hub id of the pipeline that the other parts come from, if ``model`` is a file.
        weights: ``"FILE"`` or ``"COMPONENT=FILE"``, or a list of them: parts from single files instead of the model's
            own; without a name it is the denoising model.
        lora: ``"FILE"`` or ``"FILE:WEIGHT"``, or a list of them; ``"transformer_2=FILE"`` is for a second expert.
        quantize: ``"int8"`` or ``"float8"`` weights of the denoising models, by torchao; None as they are stored.
        scheduler: ``"euler"``, ``"heun"``, ``"lcm"``, ``"unipc"``, ``"dpm"``, ``"ddim"`` or a scheduler class of
            diffusers, with the checkpoint's configuration; None is the checkpoint's own.
        flow_shift: shift of the noise levels of flow matching, above 0; 1 is none, None the checkpoint's own.
        layerwise: ``"float8"`` stores the weights of the denoising models so and computes in ``dtype``; None does not.
        compile: ``"blocks"`` or ``"model"``: what of the denoising models ``torch.compile`` compiles; None is nothing.

    Raises:
        UsageError: an unknown model, value or file, or something that this model or machine cannot do.
        GenkitError: the model could not be opened.
    """
    named = isinstance(model, str | Path)
    where, precision = check_device(device), None if dtype is None else _dtype(dtype)
    check_stored(offload, layerwise, compile, quantize, where)
    check_solver(scheduler, flow_shift)
    check_quantize(quantize)
    if attention_backend is not None:
        _check_backend(attention_backend)
    files, loras, notes = read_weights(weights), read_loras(lora), list[str]()
    if loras:
        check_peft()
    source, files = _base_and_files(model, base, files) if named else (_check_open(model, base, files, quantize), ())
    with _explain_full_memory(str(model) if named else type(model).__name__, where):
        pipe = open_pipeline(source, precision, where, files, quantize, notes) if named else model
        card_of(pipe)  # refuses an unknown family
        if not named and precision is not None:
            pipe.to(precision)
        about = {"weights from": ", ".join(map(str, files)), "lora": add_loras(pipe, loras, notes)}
        set_solver(pipe, scheduler, flow_shift)
        cast_layers(pipe, layerwise)
        place(pipe, offload, where, named or device is not None)
    if attention_backend is not None:
        _set_backend(pipe, attention_backend)
    compile_models(pipe, compile)
    how: dict[str, Any] = {"quantize": quantize, "scheduler": scheduler, "flow_shift": flow_shift}
    how |= {"layerwise": layerwise, "offload": offload, "compile": compile, "weights": files, "lora": loras}
    set_opened(pipe, Opened(request=_in_json(how), about=_present(about), notes=tuple(notes)))
    pipe.set_progress_bar_config(disable=True)
    return pipe


def _present(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value}


def _in_json(how: Mapping[str, Any]) -> dict[str, Any]:
    return {name: list(map(str, v)) if isinstance(v, tuple) else v for name, v in _present(how).items()}


def _check_open(model: Any, base: Any, files: Any, quantize: Any) -> Any:
    """Refuse for an open pipeline what acts while one is opened."""
    given = {"base": base, "weights": files, "quantize": quantize}
    if wrong := next((name for name, value in given.items() if value), None):
        raise UsageError(f"{wrong} acts while a model is opened, and this pipeline is open already; leave it out")
    return model


def _base_and_files(
    model: str | Path, base: str | Path | None, files: tuple[NamedFile, ...]
) -> tuple[str | Path, tuple[NamedFile, ...]]:
    """Return the pipeline to open and the files of its parts, one of which may have been named as the model."""
    if not is_weights(model):
        if base is not None:
            raise UsageError(f"base={str(base)!r} is for a file of weights, and {str(model)!r} is not; leave it out")
        check_gguf(files)
        return model, files
    if base is None:
        raise UsageError(base_missing(Path(model)))
    every = read_weights([str(model), *map(str, files)])
    check_gguf(every)
    return base, every


def _dtype(name: Any) -> torch.dtype:
    if isinstance(name, torch.dtype) and name in DTYPES.values():
        return name
    if not isinstance(name, str) or name not in DTYPES:
        raise UsageError(f"dtype={quote(name)} is unknown; {nearest(str(name), DTYPES)}")
    return DTYPES[name]


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
