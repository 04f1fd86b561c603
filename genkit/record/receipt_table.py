"""A receipt as lines of text: labels and values, aligned; long values continue below themselves.

Its content may come from an untrusted file, so it is printed by :mod:`genkit.record.visible`."""

import textwrap
from collections.abc import Iterator

from genkit.record.fields import Fields, Refusal, Seconds
from genkit.record.visible import visible

LABEL, WIDTH = 11, 100
"""Columns of the label, and of a whole line."""


def table(receipt: Fields) -> str:
    """Format the receipt in two columns; deviations from the request come last, with an exclamation mark."""
    return "\n".join(line for label, text in _rows(receipt) for line in _lines(label, text))


def _lines(label: str, text: str) -> list[str]:
    indent = " " * LABEL
    return textwrap.wrap(
        visible(text), WIDTH, initial_indent=label.ljust(LABEL), subsequent_indent=indent, break_on_hyphens=False
    )


def _rows(receipt: Fields) -> Iterator[tuple[str, str]]:
    yield "model", f"{receipt.model} ({', '.join(filter(None, (receipt.family, receipt.pipeline)))})"
    for index, (what, how) in enumerate(receipt.opened.items()):
        yield "" if index else "opened", f"{what}: {how}"
    yield "video", _video(receipt)
    if receipt.seed is not None:
        yield "seed", str(receipt.seed)
    if receipt.arguments:
        yield "arguments", ", ".join(f"{name}={value}" for name, value in receipt.arguments.items())
    for index, plugin in enumerate(receipt.plugins or ("none",)):
        yield "" if index else "plug-ins", plugin
    yield from _attention_rows(receipt)
    if time := _time(receipt.seconds):
        yield "time", time
    if receipt.peak_memory_bytes is not None:
        counted = "on the device" if receipt.device.startswith("cuda") else "of the whole process"
        yield "memory", f"{receipt.peak_memory_bytes / 2**30:.2f} GiB at most, {counted}"
    yield "device", f"{receipt.device}, {receipt.dtype}"
    yield "made with", ", ".join(f"{name} {number}" for name, number in receipt.versions.items()) or "unknown versions"
    yield "started", receipt.started
    for refusal in receipt.attention.refusals:
        yield "! refused", _refusal(refusal)
    for note in receipt.notes:
        yield "! note", note


def _video(receipt: Fields) -> str:
    asked = receipt.frames_asked
    if receipt.frames is None or receipt.fps is None:
        frames = "the default number of" if asked is None else asked
        size = "" if None in (receipt.height, receipt.width) else f" of {receipt.height}x{receipt.width}"
        return f"{frames} frames{size}, made by calling the pipeline itself"
    made = f"{receipt.frames} frames" + ("" if asked in (None, receipt.frames) else f" ({asked} were asked for)")
    return f"{made} of {receipt.height}x{receipt.width}, {receipt.fps:g} fps, {receipt.frames / receipt.fps:.2f} s"


def _attention_rows(receipt: Fields) -> Iterator[tuple[str, str]]:
    attention = receipt.attention
    if attention.calls:
        by = ", ".join(f"{name} {calls:,}" for name, calls in attention.backends.items())
        yield "attention", f"{attention.calls:,} calls in {attention.layers} layers" + (f"; run by {by}" if by else "")
    for model, skipped in attention.skipped.items():
        where = sum(calls > 0 for calls in skipped.layers.values())
        what = f"{skipped.calls:,} of {skipped.of:,} attention calls of {model}, in {where} layers"
        yield "skipped", f"{what}: a step cache reused what it had"
    for plugin, density in attention.densities.items():
        spread = f"{density.min:.3f} to {density.max:.3f}"
        yield "density", f"{plugin}: {density.mean:.3f} on average ({spread}) over {density.calls:,} sparse calls"


def _time(seconds: Seconds) -> str:
    steps = "" if seconds.per_step is None else f" ({seconds.per_step:.3f} s a step)"
    stages = [
        ("load", seconds.load, ""),
        ("denoise", seconds.denoise, steps),
        ("decode", seconds.decode, ""),
        ("total", seconds.total, ""),
    ]
    return ", ".join(f"{name} {value:.2f} s{more}" for name, value, more in stages if value is not None)


def _refusal(refusal: Refusal) -> str:
    """Number of layers, or the name of the only one; the JSON lists them all."""
    calls, layers = refusal.calls, len(refusal.layers)
    where = f"in {layers} layers" if layers != 1 else f"in {refusal.layers[0]}"
    when = f", step{_s(len(refusal.steps))} {_spans(refusal.steps)}" if refusal.steps else ""
    return f"{refusal.plugin}, {calls:,} call{_s(calls)} {where}{when}: {refusal.reason}"


def _s(count: int) -> str:
    return "" if count == 1 else "s"


def _spans(numbers: tuple[int, ...]) -> str:
    """Ascending numbers, runs of them as ``first-last``."""
    begins = [n for n in numbers if n - 1 not in numbers]
    ends = [n for n in numbers if n + 1 not in numbers]
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in zip(begins, ends, strict=True))
