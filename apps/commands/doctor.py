"""Capability checks of this machine, each with a fix for what is missing, and the check of one model's facts."""

import dataclasses
import importlib
import json
import os
import platform
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import genkit
from genkit.record.versions import version_of
from genkit.record.visible import visible
from genkit.tiny import TINY_WEIGHTS
from genkit_video import install_extra, namesake, reinstall

GIB = 2**30


@dataclass(frozen=True, kw_only=True)
class Check:
    """One capability check."""

    name: str
    ok: bool
    found: str
    """What was found, or the reason it cannot be used."""
    fix: str = ""
    """Suggested fix; empty if the check passed."""
    needed: bool = False
    """True if no video can be made without it."""


def report(as_json: bool) -> int:
    """Print all checks of this machine; return 1 if no video can be made, and 0 otherwise."""
    found = checks()
    print(_json(found) if as_json else "\n".join(map(text_of, found)))
    return int(any(check.needed and not check.ok for check in found))


def report_model(model: str, as_json: bool) -> int:
    """Print what small runs of a model show about each of its facts; return 1 if one is wrong, and 0 otherwise.

    Raises:
        UsageError: there is no such model, or nothing is known of it.
    """
    found = genkit.check(genkit.load(model))
    print(_json(found.findings) if as_json else found)
    return int(not found.ok)


def _json(found: Sequence[Any]) -> str:
    return json.dumps([dataclasses.asdict(one) for one in found], indent=2)


def checks() -> list[Check]:
    """Run all checks; nothing is downloaded, and a failing check does not stop the others."""
    looks = (_python, _name, _machine, _torch, _gpu, _diffusers, _triton, _flex, _xformers, _weights, _h264, _gradio)
    return [_safely(look) for look in looks]


def text_of(check: Check) -> str:
    """Format a check as one line: its state, what was found, and the fix."""
    state = "ok" if check.ok else "missing" if check.needed else "without"
    return visible(f"{state:8}{check.name:15}{check.found}" + (f"; {check.fix}" if check.fix else ""))


def _safely(look: Callable[[], Check]) -> Check:
    try:
        return look()
    except Exception as error:  # importing a broken package may raise anything
        name = look.__name__.strip("_")
        return Check(name=name, ok=False, found=f"{type(error).__name__}: {error}", fix="reinstall it", needed=True)


def _python() -> Check:
    new_enough = sys.version_info >= (3, 10)
    fix = "" if new_enough else "install Python 3.10 or newer"
    return Check(name="python", ok=new_enough, found=platform.python_version(), fix=fix, needed=True)


def _name() -> Check:
    other = namesake()
    found = other or f"'genkit' is {genkit.__distribution__}"
    return Check(name="import name", ok=other is None, found=found, needed=True)


def _machine() -> Check:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    if "SC_PHYS_PAGES" not in getattr(os, "sysconf_names", {}):
        return Check(name="machine", ok=True, found=f"{cores} cores")
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / GIB
    return Check(name="machine", ok=True, found=f"{cores} cores, {memory:.1f} GiB of memory")


def _torch() -> Check:
    torch = importlib.import_module("torch")
    return Check(name="torch", ok=True, found=f"{torch.__version__}, {torch.get_num_threads()} threads", needed=True)


def _gpu() -> Check:
    torch = importlib.import_module("torch")
    if not torch.cuda.is_available():
        fix = "install a matching driver" if torch.version.cuda else "this torch is built without CUDA"
        return Check(name="gpu", ok=False, found="no CUDA device: models run on the CPU", fix=fix)
    device = torch.cuda.get_device_properties(0)
    count = torch.cuda.device_count()
    found = f"{device.name}, sm_{device.major}{device.minor}, {device.total_memory / GIB:.1f} GiB"
    return Check(name="gpu", ok=True, found=found + (f", and {count - 1} more" if count > 1 else ""))


def _diffusers() -> Check:
    missing = [name for name in ("diffusers", "transformers") if not version_of(name)]
    found = ", ".join(f"{name} {version_of(name) or 'is not installed'}" for name in ("diffusers", "transformers"))
    fix = f"pip install {' '.join(missing)}" if missing else ""
    return Check(name="diffusers", ok=not missing, found=found, fix=fix, needed=True)


def _triton() -> Check:
    if not version_of("triton"):
        return Check(name="triton", ok=False, found="no Triton kernels", fix="pip install triton (Linux only)")
    importlib.import_module("triton")
    if importlib.import_module("torch").cuda.is_available():
        return Check(name="triton", ok=True, found=f"{version_of('triton')}, kernels run on the GPU")
    found = f"{version_of('triton')}, but without a GPU its kernels run in the interpreter, for tests only"
    return Check(name="triton", ok=False, found=found)


def _flex() -> Check:
    if importlib.import_module("torch").cuda.is_available():
        ok, found, fix = bool(version_of("triton")), "FlexAttention compiles through Triton", "pip install triton"
    else:
        compiler = os.environ.get("CXX") or next(filter(shutil.which, ("g++", "clang++", "c++")), "")
        ok = bool(compiler and shutil.which(compiler))
        found = f"FlexAttention compiles with {compiler}" if ok else "FlexAttention needs a C++ compiler on a CPU"
        fix = "install g++"
    return Check(name="flex", ok=ok, found=found, fix="" if ok else fix)


def _xformers() -> Check:
    return _optional("xformers", "attention backend of diffusers", install_extra("xformers"))


def _gradio() -> Check:
    return _optional("gradio", "web page", install_extra("ui"))


def _optional(package: str, purpose: str, fix: str) -> Check:
    found = version_of(package)
    said = f"{found}, {purpose}" if found else f"no {purpose}"
    return Check(name=package, ok=bool(found), found=said, fix="" if found else fix)


def _weights() -> Check:
    there = (TINY_WEIGHTS / "model_index.json").is_file()
    found = "in the package, no download needed" if there else "missing from this installation"
    fix = "" if there else reinstall()
    return Check(name="tiny model", ok=there, found=found, fix=fix, needed=True)


def _h264() -> Check:
    av = importlib.import_module("av")
    try:
        encoder = av.codec.Codec("libx264", "w")
    except ValueError:
        return Check(
            name="h264", ok=False, found="no H.264 encoder in PyAV", fix="pip install --upgrade av", needed=True
        )
    return Check(name="h264", ok=True, found=f"{encoder.long_name}, PyAV {av.__version__}", needed=True)
