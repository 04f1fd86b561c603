"""One request to one file: check the output, make the video, save it, report."""

import hashlib
import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from functools import reduce
from pathlib import Path
from typing import Any

import genkit
from genkit.apps.commands.places import report_moved
from genkit.apps.terminal.progress import progress_bar
from genkit.apps.terminal.warning import warning
from genkit.errors import GenkitError, UsageError
from genkit.files.whole import check_writable
from genkit.record.receipt import Receipt
from genkit.record.visible import visible
from genkit.request import Request
from genkit.video.ours import check_ours, is_film
from genkit.video.targets import Target
from genkit.video.video import Video

FOLDER = Path("outputs")


def produce(
    request: Request,
    output: Path | None,
    *,
    metadata: bool,
    sheet: bool,
    as_json: bool,
    notes: Sequence[str] = (),
) -> int:
    """Make the video of ``request`` and print its path and receipt, or one JSON object.

    Args:
        output: a file ending in ``.mp4``, which is replaced only if genkit made it, or an existing folder; None is
            ``outputs/``. In a folder the name consists of date, model, seed and a hash of the request, and nothing is
            replaced. A file that appears under the name during the run is not replaced either.
        notes: sentences on what was not taken from the request, for standard error and the receipt.

    Raises:
        UsageError: the request or the output cannot be used; an output is refused before any work is done.
        GenkitError: the generation failed.
    """
    folder = FOLDER if output is None else output if output.is_dir() else None
    if folder is None:
        assert output is not None
        check_ours(check_writable(output), is_film, "video")
        target = Target.as_it_is(output)
    else:
        check_writable(folder / "clip.mp4")
        target = None
    for note in notes:
        print(visible(f"genkit: {note}"), file=sys.stderr)
    with progress_bar() as draw:
        video = _add_notes(genkit.make(request, on_event=warning(draw)), notes)
    target = target or Target(free_name(folder or FOLDER, video.request), False)
    path = _save(video, target, metadata=metadata, sheet=sheet)
    if as_json:
        print(_as_json(path, video))
    else:
        print("\n".join([visible(path), *([] if video.receipt is None else [str(video.receipt)])]))
    return 0


def _save(video: Video, target: Target, *, metadata: bool, sheet: bool) -> Path:
    try:
        path = video.save(target, metadata=metadata, sheet=sheet)
    except UsageError as error:  # the command was valid when it started
        raise GenkitError(str(error)) from error
    report_moved(path, target, "video")
    return path


def check_not_source(output: Path | None, source: Path) -> None:
    """Raise ``UsageError`` if a video would overwrite the file it is made from."""
    if output is not None and output.is_file() and source.exists() and output.samefile(source):
        raise UsageError(f"{str(output)!r} is the video being read; give --output another name, so that both are kept")


def _add_notes(video: Video, notes: Sequence[str]) -> Video:
    receipt = video.receipt
    return video if receipt is None else replace(video, receipt=reduce(Receipt.with_note, notes, receipt))


def _as_json(path: Path, video: Video) -> str:
    receipt = None if video.receipt is None else video.receipt.model_dump(mode="json")
    return json.dumps({"output": str(path), "seed": video.request.get("seed"), "receipt": receipt})


def free_name(folder: Path, request: Mapping[str, Any]) -> Path:
    """Return a name in ``folder`` that identifies the run but reveals nothing of its prompt; a number may follow it."""
    text = json.dumps(request, sort_keys=True, default=str)
    model = re.sub(r"[^A-Za-z0-9.]+", "-", str(request.get("model", "")).rstrip("/").split("/")[-1]).strip("-.")
    short = hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()[:8]
    stem = f"{date.today():%Y-%m-%d}-{model[:40] or 'model'}-{request.get('seed')}-{short}"
    return folder / f"{stem}.mp4"
