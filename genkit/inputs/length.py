"""How many frames a call makes whose length is that of a given video."""

from typing import Any

from genkit.attention.facts.card import Card
from genkit.checks.lengths import default_length
from genkit.checks.values import whole
from genkit.errors import UsageError
from genkit.inputs.given import Given
from genkit.inputs.timing import at_rate, legal_length

Clips = dict[str, list[Any]]
"""Frames of each input, at the rate of the run."""


def clips_of(given: Given, fps: float, notes: list[str]) -> Clips:
    """Return the frames of each input at the rate of the run; a video of another rate is read at this one."""
    found: Clips = {}
    for name, media in given.media.items():
        frames = media.frames if media.fps is None else at_rate(media.frames, media.fps, fps)
        if frames is not media.frames:
            notes.append(
                f"{name} has {len(media.frames)} frames at {media.fps:.4g} frames per second and was read at {fps:g}, "
                f"so {len(frames)} are used; fps={media.fps:.4g} takes each frame once"
            )
        found[name] = frames
    return found


def length_of(pipe: Any, card: Card, clips: Clips, asked: Any) -> int | None:
    """Return the frames that a given video makes the result have; None if no video sets its length.

    ``asked``: the frames that the user asked for; None takes as many as the shortest video has, or as the model makes
    by itself if those are fewer.

    Raises:
        UsageError: a video is shorter than asked.
    """
    videos = [name for name in clips if card.takes[name].whole and not _repeats(card, name, clips[name])]
    if not videos:
        return None
    shortest = min(videos, key=lambda name: len(clips[name]))
    most = legal_length(len(clips[shortest]), steps_of(pipe, card, clips) or 1)
    if asked is None:
        usual = card.defaults.get("num_frames") or default_length(pipe, card)
        return most if usual is None else min(most, usual)
    frames = whole("num_frames", asked)
    if frames > len(clips[shortest]):
        raise UsageError(
            f"{shortest} has {len(clips[shortest])} frames and num_frames={frames} asks for more; give a longer video, "
            f"or num_frames={most}"
        )
    return frames


def steps_of(pipe: Any, card: Card, clips: Clips) -> int | None:
    """Return the step of the lengths that the videos of a call may have; None if they may have any."""
    stepped = any(card.takes[name].whole and card.takes[name].stepped for name in clips)
    return card.frame_step(pipe) if stepped else None


def cut_to(pipe: Any, card: Card, clips: Clips, frames: int | None, notes: list[str]) -> Clips:
    """Return the frames of each input as the call takes them: those along the result are as long as it.

    ``frames``: of the result; None if it is not known before the call.
    """
    found = dict(clips)
    for name, clip in clips.items():
        known = card.takes[name]
        if known.form in ("image", "audio") or (frames is None and not known.stepped):
            continue
        if _repeats(card, name, clip):
            notes.append(f"{name} is one image, and was used for all {frames} frames")
            found[name] = clip * (frames or 1)
        elif known.whole and frames is not None:
            found[name] = clip[:frames]
        elif known.stepped:
            found[name] = clip[: legal_length(min(len(clip), frames or len(clip)), card.frame_step(pipe))]
        if len(found[name]) < len(clip):
            notes.append(f"{name} was cut from {len(clip)} to {len(found[name])} frames")
    return found


def _repeats(card: Card, name: str, clip: list[Any]) -> bool:
    """Return True for a mask that is one image."""
    return card.takes[name].form == "mask" and len(clip) == 1
