"""LoRA through diffusers' own loader: what does not fit is refused or stated, where diffusers only warns."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from genkit.attention.private import LORA_PARTS
from genkit.errors import GenkitError, UsageError, first_line
from genkit.opening.files import NamedFile
from genkit.record.visible import visible
from genkit_video import install_extra

OURS = "genkit_"
"""Beginning of the names by which diffusers knows the LoRA that are loaded here."""
OF_LORA = re.compile(r"(?:\.processor)?[._]lora|\.(?:alpha|dora_scale|diff|diff_b|lokr_\w+)$")
"""Where the name of a module ends and that of its LoRA begins."""
INPUT, OUTPUT = re.compile(r"lora[._](A|down)\b"), re.compile(r"lora[._](B|up)\b")


def check_peft() -> None:
    """Raise ``UsageError`` unless peft, with which diffusers applies LoRA, is installed in a version that it takes."""
    from diffusers.utils import USE_PEFT_BACKEND

    if not USE_PEFT_BACKEND:
        raise UsageError(f"a LoRA needs the package peft, new enough for diffusers; {install_extra('lora')}")


def add_loras(pipe: Any, files: Sequence[NamedFile], notes: list[str]) -> str:
    """Load LoRA files into a pipeline and set their weights; all of them are checked before the first is loaded.

    Returns:
        A text for the receipt; ``notes`` receives a sentence on layers that have no place in the model.

    Raises:
        UsageError: the pipeline takes none, or a file is for another model.
    """
    if not files:
        return ""
    if not hasattr(pipe, "load_lora_weights"):
        raise UsageError(f"lora: diffusers has no loader of LoRA for {type(pipe).__name__}; leave it out")
    notes += filter(None, [check_fit(pipe, file) for file in files])
    names = [f"{OURS}{number}_{re.sub(r'[^A-Za-z0-9]+', '_', file.path.stem)}" for number, file in enumerate(files)]
    for name, file in zip(names, files, strict=True):
        _load(pipe, name, file)
    pipe.set_adapters(names, [file.weight for file in files])
    return ", ".join(map(_about, files))


def check_fit(pipe: Any, file: NamedFile) -> str:
    """Check that a LoRA is for this model, by the names and shapes of its layers.

    Returns:
        A note if some of its layers, fewer than half, have no place in the model; otherwise an empty text.

    Raises:
        UsageError: it is for another model.
    """
    layers = _layers(pipe, file)
    modules = _modules(pipe, file)
    other = [_shape_note(name, modules[name], tensors) for name, tensors in layers.items() if name in modules]
    if wrong := [note for note in other if note]:
        raise UsageError(
            f"{file.path.name} is a LoRA for another model than {type(pipe).__name__}: {len(wrong)} of its "
            f"{len(layers)} layers are of other shapes ({wrong[0]}); use one made for this model"
        )
    absent = [name for name in layers if name not in modules]
    shown = visible(", ".join(absent[:3]) + (", ..." if len(absent) > 3 else ""))
    if len(absent) * 2 >= len(layers):
        raise UsageError(
            f"{file.path.name} is a LoRA for another model than {type(pipe).__name__}, which lacks {len(absent)} of "
            f"the {len(layers)} layers in it ({shown}); use one made for this model"
        )
    note = f"{len(absent)} of the {len(layers)} layers of {file.path.name} have no place in the model: {shown}"
    return note if absent else ""


def _layers(pipe: Any, file: NamedFile) -> dict[str, list[tuple[str, Tensor]]]:
    """Return the tensors of a LoRA by the module that they change, as diffusers converts its names."""
    try:
        found = type(pipe).lora_state_dict(str(file.path), local_files_only=True)
    except Exception as error:  # a damaged file, or one of another kind, can raise anything
        reason = visible(first_line(error))[:200]
        raise UsageError(f"{str(file.path)!r} cannot be read as a LoRA of {type(pipe).__name__}: {reason}") from error
    tensors: Mapping[str, Tensor] = found[0] if isinstance(found, tuple) else found
    layers: dict[str, list[tuple[str, Tensor]]] = {}
    for key, tensor in tensors.items():
        name, kind = key, ""
        if where := OF_LORA.search(key):
            name, kind = key[: where.start()], key[where.start() :]
        layers.setdefault(name, []).append((kind, tensor))
    if not layers:
        raise UsageError(f"{str(file.path)!r} contains no LoRA; its layers have names such as to_q.lora_A.weight")
    return layers


def _modules(pipe: Any, file: NamedFile) -> dict[str, nn.Module]:
    """Return the modules that a LoRA may change, by the name that a file gives them."""
    parts = [name for name in LORA_PARTS.read(pipe) if isinstance(getattr(pipe, name, None), nn.Module)]
    if file.component is not None and file.component not in parts:
        raise UsageError(
            f"lora={file.component}=...: {type(pipe).__name__} takes a LoRA in {', '.join(parts)}; write one of these"
        )
    named = {f"{part}.{name}": module for part in parts for name, module in getattr(pipe, part).named_modules()}
    if file.component in (None, parts[0]):
        return named
    inside = getattr(pipe, file.component).named_modules()  # files for a second expert name it like the first
    return {f"{parts[0]}.{name}": module for name, module in inside}


def _shape_note(name: str, module: nn.Module, tensors: Sequence[tuple[str, Tensor]]) -> str:
    """Return how a LoRA differs from the linear layer that it would change; empty if it does not."""
    plain = getattr(module, "base_layer", module)
    if not isinstance(plain, nn.Linear):
        return ""
    for kind, tensor in tensors:
        if INPUT.search(kind) and tensor.shape[-1] != plain.in_features:
            return f"{name} takes {plain.in_features} channels, not {tensor.shape[-1]}"
        if OUTPUT.search(kind) and tensor.shape[0] != plain.out_features:
            return f"{name} gives {plain.out_features} channels, not {tensor.shape[0]}"
    return ""


def _load(pipe: Any, name: str, file: NamedFile) -> None:
    second = {"load_into_transformer_2": True} if file.component == "transformer_2" else {}
    try:
        pipe.load_lora_weights(str(file.path), adapter_name=name, local_files_only=True, **second)
    except Exception as error:  # peft and diffusers raise of every kind
        reason = visible(first_line(error))[:200]
        raise GenkitError(f"{str(file.path)!r} could not be loaded into {type(pipe).__name__}: {reason}") from error


def _about(file: NamedFile) -> str:
    part = f" in {file.component}" if file.component else ""
    return f"{file.path.name} at {file.weight:g}{part} (sha256 {_sha256(file.path)[:16]})"


def _sha256(path: Path) -> str:
    found = hashlib.sha256()
    with path.open("rb") as stream:
        while piece := stream.read(2**20):
            found.update(piece)
    return found.hexdigest()
