"""Jobs and messages as HTML, with all text escaped."""

import base64
from html import escape

from genkit.apps.jobs.store import Job
from genkit.apps.page.files import poster_address, video_address
from genkit.apps.page.form import Checked
from genkit.apps.terminal.progress import STAGES, time_left
from genkit.generation.events import Progress

NOTHING = "Nothing has been made yet."
GONE = "This job no longer exists."
FULL = "The disk is full; free some space there, or the video cannot be written."
NO_PREVIEW = "This model cannot show frames before the video is done."
STOPPING = {"load": "Stopping as soon as the model is open.", "decode": "Stopping after this piece."}
"""Message of a running job that was asked to stop, by stage; in other stages it ends within its step."""
LONGEST_CAPTION = 80


def status(job: Job | None, ahead: int = 0, worker: bool = True) -> str:
    """Return the state, progress and remaining time of a job; None if there is none yet.

    Args:
        ahead: jobs that come before it.
        worker: True if the worker process is running.
    """
    if job is None:
        return paragraph("state", NOTHING)
    lines = [paragraph(f"state {job.status}", _sentence(job, ahead))]
    if job.status == "running" and job.total:
        lines.append(f'<progress max="{job.total}" value="{job.step}"></progress>')
    if not job.over and not worker:
        lines.append(paragraph("wrong", "The worker process is starting; if this message stays, see its log."))
    if job.note:
        lines.append(paragraph("hint", _capital(job.note)))
    return "".join(lines)


def _sentence(job: Job, ahead: int) -> str:
    if job.status == "queued":
        return f"Waiting: {ahead} job{'s' if ahead != 1 else ''} before this one." if ahead else "Waiting to begin."
    if job.status == "running":
        return _running(job)
    if job.error:
        return f"{_capital(job.status)}: {job.error}"
    return _capital(job.status) + "."


def _running(job: Job) -> str:
    if job.cancel:
        return STOPPING.get(job.stage, "Stopping within this step.")
    stages = STAGES | {"save": "writing the file"}
    parts = [_capital(stages.get(job.stage, job.stage))]
    if job.stage == "denoise":
        parts.append(f"step {job.step} of {job.total}")
        parts.append(time_left(Progress(step=job.step, total=job.total, seconds=0, left=job.time_left)))
    return ", ".join(filter(None, parts)) + "."


def preview(job: Job | None, frames: bytes | None) -> str:
    """Return the frames so far of a running job, from an animated WebP; empty for any other job.

    They are embedded in the page, so that no address leads into the folder they are stored in.
    """
    if job is None or job.status != "running":
        return ""
    if frames is None:
        return paragraph("hint", NO_PREVIEW) if job.stage == "denoise" and job.step else ""
    data = base64.b64encode(frames).decode()
    return f'<img class="preview" decoding="sync" alt="The video so far" src="data:image/webp;base64,{data}">'


def player(job: Job) -> str:
    """Return the player for a finished job's video."""
    address, name = video_address(job), f"genkit-{job.id[:12]}.mp4"
    return (
        f'<video src="{address}" aria-label="The video" controls autoplay loop muted playsinline></video>'
        f'<a href="{address}" download="{name}">Download</a>'
    )


def gallery(made: list[tuple[Job, bool]]) -> str:
    """Return buttons with the finished videos, newest first; empty if there are none.

    Args:
        made: jobs, each with True if it has a poster.
    """
    return "".join(_tile(job, poster) for job, poster in made)


def _tile(job: Job, poster: bool) -> str:
    said = escape(caption(job))
    picture = f'<img src="{poster_address(job)}" alt="{said}" loading="lazy">' if poster else ""
    return f'<button type="button" data-job="{job.id}" title="{said}">{picture}<span>{said}</span></button>'


def message(checked: Checked, key: str) -> str:
    """Return the message beside a field: its error, else its explanation, else nothing."""
    if key in checked.wrong:
        return paragraph("wrong", _capital(checked.wrong[key]), 'role="alert"')
    return paragraph("hint", _capital(checked.hints[key])) if key in checked.hints else ""


def paragraph(kind: str, text: str, attributes: str = "") -> str:
    """Return one line of HTML; ``text`` is escaped, ``kind`` and ``attributes`` must be trusted."""
    return f'<p class="{kind}" {attributes}>{escape(text)}</p>'


def caption(job: Job) -> str:
    """Return a short line for the gallery: the beginning of the prompt, and the seed."""
    prompt = job.request.prompt
    line = " ".join((prompt if isinstance(prompt, str) else " | ".join(str(e.get("prompt")) for e in prompt)).split())
    shown = line if len(line) <= LONGEST_CAPTION else line[: LONGEST_CAPTION - 3] + "..."
    return shown if job.damaged else f"{shown} (seed {job.request.seed})"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
