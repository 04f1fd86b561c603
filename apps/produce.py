"""One request to one file: check the output, make the video, save it, say what happened."""

import hashlib
import json
import re
from collections.abc import Mapping
from datetime import date
from itertools import count
from pathlib import Path
from typing import Any

import genkit
from genkit.apps.progress import progress_bar
from genkit.outputs import check_writable
from genkit.request import Request
from genkit.video import Video
from genkit.visible import visible

FOLDER = Path("outputs")


def produce(request: Request, output: Path | None, *, metadata: bool, sheet: bool, as_json: bool) -> int:
    """Make the video of ``request`` and print its path and receipt, or one JSON object.

    Args:
        output: a file that ends in ``.mp4``, which is replaced, or an existing folder; None is ``outputs/``. In a
            folder the name is made of date, model, seed and a hash of the request, and nothing is replaced.

    Raises:
        UsageError: the request or the output cannot be used; an output is refused before any work is done.
        GenkitError: the generation failed.
    """
    folder = output if output and output.is_dir() else FOLDER if output is None else None
    check_writable(folder / "clip.mp4" if folder else output)  # type: ignore[arg-type]
    with progress_bar() as draw:
        video = genkit.make(request, on_event=draw)
    path = video.save(free_name(folder, video.request) if folder else output, metadata=metadata, sheet=sheet)
    if as_json:
        print(_as_json(path, video))
    else:
        print("\n".join([visible(path), *([] if video.receipt is None else [str(video.receipt)])]))
    return 0


def _as_json(path: Path, video: Video) -> str:
    receipt = None if video.receipt is None else video.receipt.model_dump(mode="json")
    return json.dumps({"output": str(path), "seed": video.request.get("seed"), "receipt": receipt})


def free_name(folder: Path, request: Mapping[str, Any]) -> Path:
    """A name in ``folder`` that says which run a file is from and never what its prompt was."""
    text = json.dumps(request, sort_keys=True, default=str)
    model = re.sub(r"[^A-Za-z0-9.]+", "-", str(request.get("model", "")).rstrip("/").split("/")[-1]).strip("-.")
    short = hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()[:8]
    stem = f"{date.today():%Y-%m-%d}-{model[:40] or 'model'}-{request.get('seed')}-{short}"
    names = (folder / f"{stem}{'' if number == 1 else f'-{number}'}.mp4" for number in count(1))
    return next(name for name in names if not name.exists())
