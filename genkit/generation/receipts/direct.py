"""Receipts of direct calls: ``pipe(...)`` by the user, while plug-ins are installed."""

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from genkit.attention.facts.card import Card
from genkit.attention.model.callers import local_of_call
from genkit.attention.model.session import Session
from genkit.checks.arguments import arguments_of
from genkit.checks.options import to_json
from genkit.errors import UsageError
from genkit.generation.receipts.where import where
from genkit.opening.stated import opened_of
from genkit.plugins.catalogue import text_of
from genkit.plugins.contract import Plugin
from genkit.record.fields import Attention, Seconds
from genkit.record.receipt import Receipt, versions

OWN = ("prompt", "num_frames", "height", "width", "output_type", "return_dict", "generator")
"""Arguments that a receipt has elsewhere, or that say nothing of the video."""


@dataclass(frozen=True)
class DirectCall:
    """A call of the pipeline that has begun."""

    arguments: dict[str, Any]
    """Arguments of the call that are not None, as JSON values or names."""
    started: str
    begun: float

    @classmethod
    def of(cls, pipe: Any) -> "DirectCall":
        """Read the arguments of the call of ``pipe`` that runs in this thread."""
        found: dict[str, Any] = {}
        for name in sorted(arguments_of(pipe)):
            with contextlib.suppress(UsageError):  # an object that no file can name
                found[name] = to_json(name, local_of_call(pipe, name))
        given = {name: value for name, value in found.items() if value is not None}
        return cls(given, datetime.now(timezone.utc).isoformat(timespec="seconds"), time.perf_counter())

    def receipt(self, pipe: Any, card: Card, session: Session, plugins: Sequence[Plugin]) -> Receipt:
        """Return the receipt of the call, which has ended; seed and rate are the caller's and not known."""
        run, given = session.run, self.arguments
        if getattr(pipe, "interrupt", False):
            run.note("the call was interrupted, so the video is unfinished")
        return Receipt(
            **where(pipe, card, session),
            seed=None,
            frames_asked=given.get("num_frames"),
            frames=None,
            height=given.get("height"),
            width=given.get("width"),
            fps=None,
            arguments={name: value for name, value in given.items() if name not in OWN},
            plugins=tuple(text_of(plugin) for plugin in plugins),
            attention=Attention.from_run(run),
            notes=tuple(dict.fromkeys((*opened_of(pipe).notes, *run.notes))),
            seconds=Seconds(total=time.perf_counter() - self.begun),
            started=self.started,
            versions=versions(),
        )
