"""The weights of a TorchScript archive, read without torch's loader, which runs code from the file.

``torch.jit.load`` calls every ``__setstate__`` of the archive, and TorchScript can write files. An archive is a zip
file: ``data.pkl`` nests the modules and names storages, the storages are plain bytes, and the head of each class in
``code/`` lists which attributes are weights. All three are read here, and nothing is run.
"""

import io
import math
import pickle
import re
import zipfile
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from genkit.errors import GenkitError

DTYPES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
TEXT = 2**26
"""Maximum size in bytes of the pickle or one file of code; CLIP's are below one megabyte."""


def is_torchscript(path: Path) -> bool:
    """Return True if a file is an archive as ``torch.jit.save`` writes it."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def read_torchscript(path: Path) -> dict[str, Tensor]:
    """Read parameters and buffers by name, as in ``torch.jit.load(path).state_dict()``, without running code.

    Raises:
        GenkitError: a class would run code to build its weights, or the archive names anything but tensors,
            numbers and texts.
        Exception: of many kinds, if the archive is damaged.
    """
    with zipfile.ZipFile(path) as archive:
        parts = _Parts(archive)
        root = _Modules(parts).load()
        return dict(_weights(root, "", parts))


class _Module:
    """A module of the archive, as far as it is read: its class name and its attributes."""

    kind = ""
    attributes: dict[str, Any]

    def __setstate__(self, state: Any) -> None:
        self.attributes = state


class _Parts:
    """The files of an archive."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self.archive = archive
        self.top = next(name for name in archive.namelist() if name.endswith("/constants.pkl")).rpartition("/")[0]
        self._heads: dict[str, tuple[str, ...]] = {}
        self._storages: dict[str, Tensor] = {}

    def read(self, name: str, limit: int = TEXT) -> bytes:
        about = self.archive.getinfo(f"{self.top}/{name}")
        if about.file_size > limit:
            raise GenkitError(f"its {name!r} has {about.file_size:,} bytes; at most {limit:,} are read")
        return self.archive.read(about)

    def storage(self, kind: str, key: str) -> Tensor:
        """Return the numbers of one storage, one axis."""
        if key not in self._storages:
            about = self.archive.getinfo(f"{self.top}/data/{key}")
            if about.compress_type != zipfile.ZIP_STORED:
                raise GenkitError(f"its storage {key!r} is compressed, which torch never does")
            content = bytearray(self.archive.read(about))
            dtype = DTYPES[kind]
            self._storages[key] = torch.frombuffer(content, dtype=dtype) if content else torch.empty(0, dtype=dtype)
        return self._storages[key]

    def weights_of(self, kind: str) -> tuple[str, ...]:
        """Return the names of the parameters and buffers of a class.

        Raises:
            GenkitError: it has a ``__setstate__`` of its own.
        """
        if kind not in self._heads:
            module, _, name = kind.rpartition(".")
            code = self.read(f"code/{module.replace('.', '/')}.py").decode()
            found = re.search(
                rf"^class {re.escape(name)}\(Module\):\n(.*?)(?=^class |\Z)", code, re.DOTALL | re.MULTILINE
            )
            body = found[1] if found else ""
            if re.search(r"^  def __setstate__\(", body, re.MULTILINE):
                raise GenkitError(f"its class {kind} builds its weights by running code, which is refused")
            lists = re.findall(r"^  __(?:parameters|buffers)__ = \[(.*?)\]$", body, re.MULTILINE)
            self._heads[kind] = tuple(re.findall(r'"([^"]*)"', " ".join(lists)))
        return self._heads[kind]


class _Modules(pickle.Unpickler):
    """Builds tensors and :class:`_Module`, and nothing else."""

    def __init__(self, parts: _Parts) -> None:
        super().__init__(io.BytesIO(parts.read("data.pkl")))
        self._parts = parts

    def find_class(self, module: str, name: str) -> Any:
        if module == "__torch__" or module.startswith("__torch__."):
            return type("Module", (_Module,), {"kind": f"{module}.{name}"})
        if (module, name) in HARMLESS:
            return HARMLESS[module, name]
        if module == "torch" and name in DTYPES:
            return name
        raise GenkitError(f"it would load {module}.{name}, which an archive of weights does not need")

    def persistent_load(self, about: Any) -> Tensor:
        what, kind, key, _, _ = about
        if what != "storage":
            raise GenkitError(f"it names {what!r}; an archive of weights contains only storages")
        return self._parts.storage(kind, key)


def _tensor(storage: Tensor, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any) -> Tensor:
    if math.prod(size) > len(storage):
        raise GenkitError(f"a tensor of shape {size} has only {len(storage)} numbers")
    return torch.as_strided(storage, size, stride, offset)


def _return(value: Any, *_: Any) -> Any:
    return value


HARMLESS: dict[tuple[str, str], Any] = {
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("collections", "OrderedDict"): OrderedDict,
    ("torch", "device"): _return,
    ("torch.jit._pickle", "build_intlist"): _return,
    ("torch.jit._pickle", "build_doublelist"): _return,
    ("torch.jit._pickle", "build_boollist"): _return,
    ("torch.jit._pickle", "build_tensorlist"): _return,
    ("torch.jit._pickle", "restore_type_tag"): _return,
}
"""Names that a pickle of modules may contain besides its own classes, and their replacements."""


def _weights(module: _Module, prefix: str, parts: _Parts) -> Iterator[tuple[str, Tensor]]:
    own = parts.weights_of(module.kind)
    attributes = module.attributes
    yield from ((prefix + name, attributes[name]) for name in own if isinstance(attributes[name], Tensor))
    for name, value in attributes.items():
        if isinstance(value, _Module):
            yield from _weights(value, f"{prefix}{name}.", parts)
