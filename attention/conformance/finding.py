"""One result of the check of facts."""

from collections.abc import Iterable
from dataclasses import dataclass

from torch import Tensor

RANGES = 3
"""Ranges of tokens that a sentence names at most."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One fact that was checked, or could not be."""

    fact: str
    """Component and field of the facts, such as ``transformer.before``, or what a pipeline must do: ``identity``."""
    ok: bool
    """False if something else was found than the facts say."""
    found: str
    """What was found, as a sentence without a full stop; if not ``ok``, against what the facts say."""


def wrong(findings: Iterable[Finding]) -> list[Finding]:
    """Return the findings against the facts."""
    return [finding for finding in findings if not finding.ok]


def tokens_text(rows: Tensor) -> str:
    """Return the places of True in ``[N]`` as words, such as ``tokens 62 to 133``."""
    ranges: list[list[int]] = []
    for place in rows.nonzero().flatten().tolist():
        if ranges and ranges[-1][1] == place - 1:
            ranges[-1][1] = place
        else:
            ranges.append([place, place])
    if not ranges:
        return "no token"
    words = [str(first) if first == last else f"{first} to {last}" for first, last in ranges[:RANGES]]
    return f"tokens {', '.join(words)}" + (" and others" if len(ranges) > RANGES else "")


def refusal(title: str, finding: Finding, more: int = 0) -> str:
    """Return the sentence that refuses a model with wrong facts; ``more`` findings against them are not named."""
    others = f" ({more} more: genkit.check)" if more else ""
    return (
        f"the facts of {title} are wrong in {finding.fact}: {finding.found}{others}; correct them, or pass check=False "
        "to apply() to use them as they are"
    )
