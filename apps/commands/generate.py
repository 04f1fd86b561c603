"""One request to one file: check the output, make the video, save it, report."""

import hashlib
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date
from functools import reduce
from pathlib import Path
from typing import Any

import genkit
from genkit.apps.commands.places import report_moved
from genkit.apps.terminal.progress import progress_bar
from genkit.apps.terminal.warning import warning
from genkit.checks.takes import takes_of
from genkit.checks.values import whole
from genkit.errors import GenkitError, UsageError
from genkit.files.whole import check_writable
from genkit.inputs.record import FILE
from genkit.inputs.words import MEDIA
from genkit.making import check_request
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
    number: int = 1,
) -> int:
    """Make the videos of ``request`` and print the path and receipt of each, or one JSON object a line.

    Args:
        output: a file ending in ``.mp4``, which is replaced only if genkit made it, or an existing folder; None is
            ``outputs/``. In a folder the name consists of date, model, seed and a hash of the request, and nothing is
            replaced. A file that appears under the name during the run is not replaced either.
        notes: sentences on what was not taken from the request, for standard error and the receipt.
        number: videos to make, with seeds that count up. Several are written as ``name-1.mp4``, ``name-2.mp4``..., and
            replace nothing.

    Raises:
        UsageError: the request or the output cannot be used; an output is refused before any work is done.
        GenkitError: the generation failed.
    """
    whole("--num-videos", number)
    folder = FOLDER if output is None else output if output.is_dir() else None
    targets = _targets(output if folder is None else None, folder, number)
    for source in paths_of(request):
        check_not_source(output, source)
    for note in notes:
        print(visible(f"genkit: {note}"), file=sys.stderr)
    for video, target in zip(_videos(request, number), targets, strict=True):
        noted = _add_notes(video, notes)
        path = _save(
            noted, target or Target(free_name(folder or FOLDER, noted.request), False), metadata=metadata, sheet=sheet
        )
        receipt = [] if noted.receipt is None else [str(noted.receipt)]
        print(_as_json(path, noted) if as_json else "\n".join([visible(path), *receipt]), flush=True)
    return 0


def _targets(file: Path | None, folder: Path | None, number: int) -> list[Target | None]:
    """Return where each video goes; None is a name in the folder that follows from the video."""
    if file is None:
        check_writable((folder or FOLDER) / "clip.mp4")
        return [None] * number
    check_writable(file)
    if number == 1:
        check_ours(file, is_film, "video")
        return [Target.as_it_is(file)]
    return [Target(file.with_name(f"{file.stem}-{place}{file.suffix}"), False) for place in range(1, number + 1)]


def _videos(request: Request, number: int) -> Iterator[Video]:
    """Make the videos one after the other, of seeds that count up, with a model that is opened once."""
    if number == 1:
        with progress_bar() as draw:
            yield genkit.make(request, on_event=warning(draw))
        return
    check_request(request)
    pipe = genkit.load(**request.opening())
    for _, seed in takes_of(None, request.seed, None, number):
        with progress_bar() as draw:
            made = genkit.make(request.model_copy(update={"seed": seed}), on_event=warning(draw), pipe=pipe)
        yield made


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


def paths_of(request: Request) -> list[Path]:
    """Return the files of images and videos that a request names."""
    given = [value for name in MEDIA if (value := getattr(request, name)) is not None]
    each = [one for value in given for one in (value if isinstance(value, list) else [value])]
    return [Path(one[FILE] if isinstance(one, dict) else one) for one in each if isinstance(one, str) or FILE in one]


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
