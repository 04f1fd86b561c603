"""A stock diffusers pipeline from a folder or a hub, some of its parts from single files or quantised."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from genkit.attention.private import CLASS_KEY
from genkit.errors import GenkitError, UsageError, is_out_of_memory, nearest
from genkit.opening.files import NamedFile
from genkit.opening.modular import has_blocks_alone, open_modular
from genkit.opening.parts import open_parts
from genkit.opening.quantised import quantisation
from genkit.pipelines.known import checkpoints
from genkit.pipelines.matching import check_index
from genkit.pipelines.names import hub_id_of
from genkit.record.visible import visible
from genkit.tiny import TINY_WEIGHTS
from genkit_video import reinstall


def open_pipeline(
    model: str | Path,
    dtype: torch.dtype | None,
    device: str,
    files: Sequence[NamedFile],
    quantize: str | None,
    notes: list[str],
    known: bool = True,
) -> Any:
    """Open a pipeline by its name.

    Args:
        model: ``"tiny"``, a folder, a hub id, or a short name that means one.
        dtype: precision of the weights; None is bfloat16 on a GPU and float32 elsewhere.
        device: name of the device that will compute.
        files: parts that are opened from single files instead.
        quantize: see ``quantisation``.
        notes: receives a sentence on weights that were not used.
        known: refuse a model of an unknown family; False opens it, to trace it.

    Raises:
        UsageError: there is no such model, or it is of an unknown family.
        GenkitError: it could not be opened.
    """
    tiny, where = str(model) == "tiny", _find(model)

    import genkit.tiny.autoencoder  # noqa: F401 - diffusers only opens a class of ours that is already imported

    precision = _natural_dtype(device, tiny) if dtype is None else dtype
    try:
        with _without_remarks(tiny):
            given = {"weights": files, "quantize": quantize}
            if has_blocks_alone(where):
                return open_modular(where, precision, given, known)
            try:
                kind, index = _read_index(where, known)
            except OSError:
                if Path(where).is_dir():
                    raise
                return open_modular(where, precision, given, known)  # a hub may have a modular pipeline alone
            parts, unused = open_parts(files, where, index, precision)
            notes += unused
            more = parts | quantisation(quantize, index, parts)
            # Explicit, not left to a default: a model's folder may bring code of its own.
            return kind.from_pretrained(where, trust_remote_code=False, **{_dtype_argument(): precision}, **more)
    except Exception as error:  # a damaged folder can raise anything in diffusers, transformers or safetensors
        if isinstance(error, GenkitError) or is_out_of_memory(error):
            raise
        reason = visible(str(error).strip().split("\n")[0])  # the words of a hub, or of a file in the model
        raise GenkitError(f"could not open {str(where)!r} as a diffusers pipeline: {reason}") from error


def _find(model: str | Path) -> str:
    """Return the folder or hub id of a model by its name.

    Raises:
        UsageError: there is no such model.
    """
    folder = TINY_WEIGHTS if str(model) == "tiny" else Path(model)
    if folder == TINY_WEIGHTS and not folder.exists():
        raise GenkitError(f"the embedded model's weights are missing from this installation; {reinstall()}")
    if folder.is_dir() or _looks_like_hub_id(str(model)):
        return str(folder if folder.is_dir() else model)
    if (hub_id := hub_id_of(str(model))) is not None:
        return hub_id
    raise UsageError(
        f"there is no model {str(model)!r}: it is not 'tiny', a folder, a file of weights, a short name, or a hub id "
        f"(owner/name); {nearest(str(model), _known_ids())}"
    )


def _read_index(where: str, known: bool) -> tuple[Any, dict[str, Any]]:
    """Refuse a model of an unknown family by its index alone, before any weights are read or downloaded.

    Returns:
        The pipeline class that opens it, and its ``model_index.json``. A part that is passed to ``from_pretrained`` is
        only taken by the class itself, not by ``DiffusionPipeline``.
    """
    import diffusers

    index = diffusers.DiffusionPipeline.load_config(where)
    name = index.get(CLASS_KEY)
    pipeline = getattr(diffusers, name, None) if isinstance(name, str) else None
    if not isinstance(pipeline, type):  # anything else is for diffusers to judge
        return diffusers.DiffusionPipeline, index
    if known:
        check_index(pipeline, index)
    return pipeline, index


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
    return [hub_id for one in checkpoints() for hub_id in one.hub_ids]


def _natural_dtype(device: str, tiny: bool) -> torch.dtype:
    return torch.bfloat16 if device.startswith("cuda") and not tiny else torch.float32
