"""Read from experiments where the video stands: its volume, its place in the sequence, the axes of its latents."""

from dataclasses import dataclass
from math import prod

from torch import Tensor

from genkit.attention.facts.coordinates import Volume
from genkit.tracing.reading.experiments import Experiments


@dataclass(frozen=True, kw_only=True)
class Places:
    """The video in the sequence of one attention call."""

    call: int
    """Number of the call in its forward: the first one with the video among its queries."""
    before: int
    """Other tokens in front of the video."""
    video: int
    """Tokens of the video."""
    after: int
    """Other tokens behind the video."""
    square: bool
    """True if the same tokens are queries and keys."""

    @property
    def tokens(self) -> int:
        """Tokens of the sequence."""
        return self.before + self.video + self.after


@dataclass(frozen=True, kw_only=True)
class Axes:
    """Division of latents into tokens."""

    volume: Volume
    """Frames, rows and columns of tokens."""
    channel: int
    """Axis of the channels."""
    video: tuple[int, ...]
    """Axes of frames, rows and columns; empty: packed tokens."""
    patch: tuple[int, ...]
    """Latents of one token along each of them."""
    frames_first: bool
    """True if tokens of a frame follow each other, frame by frame."""


def places_of(found: Experiments) -> Places | None:
    """Return where the video stands; None if no call has one sequence of the whole video among its queries.

    A call of the earliest module is taken, because later ones mix all tokens; one where queries are keys comes first.
    """
    seen = [place for number in range(len(found.calls)) if (place := _place(found, number)) is not None]
    square = [place for place in seen if place.square]
    return next(iter(square), next(iter(seen), None))


def _place(found: Experiments, number: int) -> Places | None:
    call, batch = found.calls[number], found.given.shape[0]
    if call.batch not in (1, batch):
        return None
    rows = found.moved_q(number, found.noise).nonzero().flatten()
    if not len(rows) or int(rows[-1] - rows[0]) + 1 != len(rows):
        return None
    queries, keys = call.tokens
    square = queries == keys and bool((found.moved_k(number, found.noise).nonzero().flatten() == rows).all())
    first, last = int(rows[0]), int(rows[-1])
    return Places(call=number, before=first, video=len(rows), after=queries - 1 - last, square=square)


def axes_of(found: Experiments, places: Places) -> Axes | None:
    """Return how the latents are divided into the tokens of a video; None if that could not be found.

    The axis that moves all of the video is that of the channels. The last index of another one moves the tokens at the
    end of it, so that their number says how many there are, whatever the patch is.
    """
    given = found.given
    rows = {axis: _video_rows(found, places, axis) for axis in found.along}
    counts = {axis: int(moved.sum()) for axis, moved in rows.items()}
    whole = [axis for axis, count in counts.items() if count == places.video and given.shape[axis] > 1]
    if len(counts) != given.ndim - 1 or len(whole) != 1 or not all(counts.values()):
        return None
    video = tuple(axis for axis in counts if axis != whole[0])
    sizes = tuple(places.video // counts[axis] for axis in video)
    if len(sizes) != 3 or prod(sizes) != places.video:
        return None
    frames, height, width = sizes
    last = rows[video[0]].nonzero().flatten()
    return Axes(
        volume=(frames, height, width),
        channel=whole[0],
        video=video,
        patch=tuple(-(-given.shape[axis] // size) for axis, size in zip(video, sizes, strict=True)),
        frames_first=int(last[0]) == places.video - len(last) and frames > 1,
    )


def is_packed(found: Experiments, places: Places) -> bool:
    """Return True if the latents are tokens already, one row of them for each token of the video."""
    return found.given.ndim == 3 and found.given.shape[1] == places.video


def _video_rows(found: Experiments, places: Places, axis: int) -> Tensor:
    rows = found.moved_q(places.call, found.along[axis])
    return rows[places.before : places.before + places.video]
