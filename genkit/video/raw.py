"""Raw frames in a file, without loss and without an encoder."""

import json
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from genkit.errors import UsageError
from genkit.files.whole import replacing


class Frames(Protocol):
    """Frames with their rate and their request, as a :class:`genkit.Video` has them."""

    @property
    def frames(self) -> NDArray[Any]: ...

    @property
    def fps(self) -> float: ...

    @property
    def request(self) -> dict[str, Any]: ...


def save_raw(video: Frames, path: Path) -> Path:
    """Store frames without loss, with rate and request, as an ``.npz`` file that evaluations read.

    Raises:
        UsageError: the name does not end in ``.npz``.
    """
    if path.suffix != ".npz":
        raise UsageError(f"cannot write {str(path)!r}: the name of raw frames must end in .npz")
    request = json.dumps(video.request, sort_keys=True, default=str)
    with replacing(path) as (part,), part.open("wb") as file:
        np.savez(file, frames=video.frames, fps=video.fps, request=request)
    return path
