"""Check that every plug-in took part in each run: none of its seams may be bypassed silently."""

import threading
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from torch import Tensor

from genkit.attention.calls.call import Attend, Call, Rule
from genkit.attention.calls.run import RunRecord
from genkit.attention.model.callers import is_called, local_of_call, works_for
from genkit.attention.model.session import ReplacedError, Session
from genkit.attention.planning.rule import ALL_WARM_UP, WARM_UP, SparseRule
from genkit.errors import GenkitError
from genkit.plugins.contract import Parts

PASSED_BY = {
    "attention": "none of the model's attention calls reached it",
    "noise": "the pipeline made its first latents without it",
    "forward": "the pipeline called its model without it",
    "text": "the pipeline encoded its prompt without it",
    "cache": "none of the model's layers reached it",
    "positions": "the model made its positions without it",
    "turns": "the pipeline made its first latents without it",
    "decode": "the pipeline decoded its latents without it",
}
"""How a run bypassed a plug-in, by seam."""
NOTHING = 5e-4
"""Share of the attention that counts as nothing, since a receipt shows three decimals."""
BUSY = (
    "this pipeline is already making a video, in another thread or around this callback; wait for it, or give each "
    "thread its own pipeline"
)
CUT = "the plug-ins were removed while the video was being made, so it was dropped; make it again"


class Installed(Protocol):
    """A seam that is in a pipeline."""

    def remove(self) -> None:
        """Restore what was there before."""
        ...


class Counted:
    """A rule that counts its calls under the name of its plug-in."""

    def __init__(self, rule: Rule, plugin: str) -> None:
        self.rule, self.plugin = rule, plugin

    def __getattr__(self, name: str) -> Any:
        return getattr(self.rule, name)

    def wrap(self, attend: Attend) -> Attend:
        """Return the attention that the rule makes of ``attend``, with its calls counted."""
        inner = self.rule.wrap(attend)

        def counted(q: Tensor, k: Tensor, v: Tensor, call: Call) -> Tensor:
            call.run.came[self.plugin, "attention"] += 1
            return inner(q, k, v, call)

        return counted


class Asked:
    """The seams that plug-ins use in one pipeline, and the thread that runs it."""

    def __init__(self, pipe: Any, owner: Any, parts: Sequence[tuple[str, Parts]]) -> None:
        self.pipe, self.owner = pipe, owner
        self.seams = list(_seams(parts))
        self._sparse = [name for name, part in parts if any(isinstance(rule, SparseRule) for rule in part.rules)]
        self._thread: int | None = None
        self._lock = threading.Lock()

    @property
    def busy(self) -> bool:
        """True while a thread is making a video with the pipeline."""
        return self._thread is not None and works_for(self._thread, self.pipe, self.owner)

    @property
    def is_called(self) -> bool:
        """True while a thread is in a call of the pipeline."""
        return self._thread is not None and is_called(self._thread, self.pipe)

    @property
    def is_here(self) -> bool:
        """True if this thread is the one that made a video with the pipeline last."""
        return self._thread == threading.get_ident()

    def claim(self) -> None:
        """Reserve the pipeline for this thread.

        Raises:
            GenkitError: another thread is running it.
        """
        with self._lock:
            me = threading.get_ident()
            if self._thread != me and self.busy:
                raise GenkitError(BUSY)
            self._thread = me

    def begin(self, session: Session) -> None:
        """Begin a call of the pipeline, with a fresh record and the models that the rules were installed in.

        Raises:
            GenkitError: another thread is running the pipeline, or a component was replaced.
        """
        self.claim()
        begin_record(session)
        check_parts(session)

    def end(self, session: Session) -> None:
        """End a call of the pipeline: every plug-in must have taken part, at each of its seams.

        Raises:
            GenkitError: one was bypassed, or a component of the pipeline was replaced.
        """
        check_parts(session)
        run, begun = session.run, not session.run.ended
        run.ended = True
        for plugin, seam in self.seams:
            if begun and seam == "decode" and local_of_call(self.pipe, "output_type") == "latent":
                run.note(f"{plugin}: latents were asked for, so there was nothing to decode")
            elif not begun or not run.came[plugin, seam]:
                raise GenkitError(
                    f"{plugin} was asked for, but {PASSED_BY[seam if begun else 'noise']}, so there is no video; call "
                    "remove(), and apply() again after everything else that changes the pipeline"
                )
        for plugin in self._sparse:
            _note_idle(run, plugin)


def _seams(parts: Sequence[tuple[str, Parts]]) -> Iterator[tuple[str, str]]:
    """Yield each plug-in with each seam that it uses."""
    for plugin, part in parts:
        used = {"attention": part.rules} | vars(part)
        yield from ((plugin, seam) for seam in PASSED_BY if used[seam])


def begin_record(session: Session) -> None:
    """Start a fresh record if a pipeline was called directly before: nothing of the last video may remain."""
    if session.run.routed or session.run.ended:
        session.run = RunRecord()


def check_parts(session: Session) -> None:
    """Raise ``GenkitError`` unless the pipeline still has the models and layers that the rules were installed in."""
    try:
        session.check_parts()
    except ReplacedError as error:
        raise GenkitError(
            f"pipe.{error} was replaced after apply(), so the plug-ins are not in it; call remove() before replacing "
            "it, and apply() again after"
        ) from None


def remove(pipe: Any) -> None:
    """Take the plug-ins out of a pipeline, also if the handle that ``apply`` returned is lost; without any, do nothing.

    Raises:
        GenkitError: see ``Handle.remove``.
    """
    handle = getattr(pipe, "_genkit_handle", None)
    if handle is not None:
        handle.remove()


def _note_idle(run: RunRecord, plugin: str) -> None:
    """Note that a sparse method left nothing out, whether by its settings or because it found nothing."""
    refused = any(name == plugin for name, _ in run.refusals)
    shares = run.densities.get(plugin, [])
    if run.backends[WARM_UP] and not shares and not refused:
        run.note(f"{plugin}: {ALL_WARM_UP}")
    if shares and all(float(share) >= 1 - NOTHING for share in shares):
        run.note(f"{plugin}: nothing was left out, as all its calls kept everything (density 1); ask it to keep less")
