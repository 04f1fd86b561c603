"""Parts of a model from single files, through diffusers' ``from_single_file``, in safetensors and GGUF."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from genkit.attention.private import CLASS_KEY
from genkit.errors import GenkitError, UsageError, first_line, is_out_of_memory
from genkit.opening.files import NamedFile
from genkit.opening.stored import DENOISERS
from genkit.record.visible import visible
from genkit_video import install_extra

MISSING = "some of the model's weights are missing from it"


def check_gguf(files: Sequence[NamedFile]) -> None:
    """Raise ``UsageError`` if a file is GGUF and the package that reads it is missing."""
    from diffusers.utils import is_gguf_available

    for file in files:
        if _is_gguf(file) and not is_gguf_available():
            raise UsageError(f"{file.path.name} needs the package gguf; {install_extra('gguf')}")


def open_parts(
    files: Sequence[NamedFile], where: str, index: Mapping[str, Any], dtype: torch.dtype
) -> tuple[dict[str, Any], list[str]]:
    """Open parts of a pipeline from single files.

    Args:
        files: the files, each for one part.
        where: folder or hub id of the pipeline, whose configuration says how large each part is.
        index: its ``model_index.json``.
        dtype: precision of the weights; of GGUF, that in which it computes.

    Returns:
        The parts by name, and notes on weights that have no place in them.

    Raises:
        UsageError: the pipeline has no such part, or diffusers opens none of its class from a file.
        GenkitError: the file is damaged, of another size, or incomplete.
    """
    parts, notes = dict[str, Any](), list[str]()
    for file in files:
        name = file.component or next((name for name in DENOISERS if name in index), DENOISERS[0])
        kind = _class_of(name, file, index)
        parts[name], unused = _open(kind, file, where, name, dtype)
        notes += unused
    return parts, notes


def base_missing(path: Path) -> str:
    """Return the message for a file of weights without the pipeline that it belongs to, with the likely one."""
    likely = _likely_base(path)
    hint = f"it looks like {likely!r}, so" if likely else "for example"
    example = likely or "a folder or hub id of the same model"
    return (
        f"{str(path)!r} contains weights of a part of a model; text encoder, autoencoder and configuration come from a "
        f"pipeline: {hint} base={example!r}"
    )


def _likely_base(path: Path) -> str | None:
    """Return the hub id that diffusers infers from the names and shapes of the weights; None if it infers none."""
    if path.suffix.lower() != ".safetensors" or not path.is_file():
        return None
    from safetensors import SafetensorError, safe_open

    from genkit.pipelines.known import checkpoints

    try:
        from diffusers.loaders.single_file_utils import fetch_diffusers_config

        with safe_open(str(path), "pt") as stream:
            shapes = {key: torch.empty(stream.get_slice(key).get_shape(), device="meta") for key in stream.keys()}  # noqa: SIM118
        found = fetch_diffusers_config(shapes)["pretrained_model_name_or_path"]
    except (ImportError, SafetensorError, OSError, LookupError, ValueError, RuntimeError):
        return None
    return found if any(found in one.hub_ids for one in checkpoints()) else None


def _class_of(name: str, file: NamedFile, index: Mapping[str, Any]) -> Any:
    import diffusers

    named = {key: value[1] for key, value in index.items() if isinstance(value, list | tuple) and value[1]}
    if name not in named:
        raise UsageError(
            f"weights: {index.get(CLASS_KEY)} has no part {name!r} for {file.path.name}; it has {', '.join(named)}"
        )
    kind = getattr(diffusers, named[name], None)
    if not hasattr(kind, "from_single_file"):
        raise UsageError(
            f"weights: diffusers opens no {named[name]} ({name}) from a single file such as {file.path.name}; "
            "give a folder with the whole pipeline as the model"
        )
    return kind


def _open(kind: Any, file: NamedFile, where: str, name: str, dtype: torch.dtype) -> tuple[Any, list[str]]:
    more: dict[str, Any] = {"config": where, "subfolder": name, "local_files_only": Path(where).is_dir()}
    if _is_gguf(file):
        from diffusers import GGUFQuantizationConfig

        more["quantization_config"] = GGUFQuantizationConfig(compute_dtype=dtype)
    try:
        with _unused_weights() as said:
            part = kind.from_single_file(str(file.path), torch_dtype=dtype, **more)
    except Exception as error:  # a damaged file can raise anything in diffusers, safetensors or gguf
        if is_out_of_memory(error):
            raise
        incomplete = isinstance(error, NotImplementedError) and "meta tensor" in str(error)
        reason = MISSING if incomplete else first_line(error)
        raise GenkitError(_refused(kind, file, where, reason)) from error
    if any(tensor.is_meta for tensor in part.parameters()):
        raise GenkitError(_refused(kind, file, where, MISSING))
    return part, [f"weights of {file.path.name} that {name} has no place for were not used: {one}" for one in said]


def _refused(kind: Any, file: NamedFile, where: str, reason: str) -> str:
    return (
        f"{str(file.path)!r} could not be opened as the {kind.__name__} of {where!r}: {visible(reason)[:200]}; give "
        "the base that it was made for"
    )


def _is_gguf(file: NamedFile) -> bool:
    return file.path.suffix.lower() == ".gguf"


@contextmanager
def _unused_weights() -> Iterator[list[str]]:
    """Collect diffusers' warnings of weights that it did not use, which it only logs."""
    heard: list[str] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said = " ".join(record.getMessage().split())
            if "not used" in said:
                names = said.partition("[")[2].strip("[]' ").split(", ")
                heard.append(f"{', '.join(names[:3])}{f' and {len(names) - 3} more' if len(names) > 3 else ''}")

    logger, collector = logging.getLogger("diffusers.loaders.single_file_model"), Collector()
    level = logger.level
    logger.addHandler(collector)
    logger.setLevel(logging.WARNING)
    try:
        yield heard
    finally:
        logger.setLevel(level)
        logger.removeHandler(collector)
