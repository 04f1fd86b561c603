"""Lengths of pipelines that make a video in sections, go on from one, or leave frames away."""

from typing import Any

from genkit.attention.facts.call import defaults_of_call
from genkit.attention.facts.made import frames_of_video, rounded
from genkit.attention.facts.volume import Arguments, configured

VIDEOS = ("video", "control_video", "pose_video")
"""Arguments with a video whose length the result has, where the call has no argument for the length."""


def in_chunks(pipe: Any, stride: int, arguments: Arguments, frames: int) -> int:
    """Return the frames of Helios: as many whole chunks as are needed."""
    made = chunks(pipe, stride, arguments, frames) * _chunk(pipe, stride, arguments)
    return (made - 1) // stride * stride + 1


def in_sections(pipe: Any, stride: int, arguments: Arguments, frames: int) -> int:
    """Return the frames of FramePack: whole sections, each of which also fills its overlap, and the image."""
    window = _value(pipe, arguments, "latent_window_size")
    sections = max(1, -(-frames // ((window - 1) * stride + 1)))
    return window * stride * sections + 1


def chunks(pipe: Any, stride: int, arguments: Arguments, frames: int) -> int:
    """Return the number of chunks in which Helios makes a video."""
    return max(1, -(-frames // _chunk(pipe, stride, arguments)))


def segments(pipe: Any, stride: int, arguments: Arguments, frames: int) -> int:
    """Return the number of segments in which Wan-Animate makes a video, each from the last frames of another."""
    shared = _value(pipe, arguments, "prev_segment_conditioning_frames")
    new = rounded(pipe, stride, arguments, _value(pipe, arguments, "segment_frame_length")) - shared
    return max(1, -(-(frames - shared) // new))


def overlapping_parts(pipe: Any, stride: int, arguments: Arguments, frames: int) -> int:
    """Return the number of parts in which diffusion forcing makes a video, each from the end of another."""
    shared, most = (_value(pipe, arguments, name) for name in ("overlap_history", "base_num_frames"))
    if shared is None or most is None or frames <= most:
        return 1
    whole, part, overlap = ((pixels - 1) // stride + 1 for pixels in (frames, most, shared))
    return 2 + (whole - part - 1) // (part - overlap)


def without_image(pipe: Any, stride: int, arguments: Arguments, frames: int) -> int:
    """Return the frames of HunyuanVideo I2V, which drops those of the image where it was joined to the latents."""
    kind = configured(getattr(pipe, "transformer", None), "image_condition_type")
    made = (frames - 1) // stride * stride + 1
    return made - 4 if kind == "latent_concat" else made


def after_video(pipe: Any, stride: int, arguments: Arguments, frames: int) -> int:
    """Return the frames of diffusion forcing, in front of which a given video stands."""
    made, video = rounded(pipe, stride, arguments, frames), arguments.get("video")
    return made if video is None else made + frames_of_video(video)


def after_thinking(pipe: Any, stride: int, arguments: Arguments, frames: int) -> int:
    """Return the frames of ChronoEdit: the first and the last latent frame, unless it thinks to the end."""
    if not _value(pipe, arguments, "enable_temporal_reasoning"):
        return stride + 1
    ends = _value(pipe, arguments, "num_temporal_reasoning_steps") < _value(pipe, arguments, "num_inference_steps")
    return stride + 1 if ends else rounded(pipe, stride, arguments, frames)


def within_controls(pipe: Any, stride: int, arguments: Arguments, frames: int) -> int:
    """Return the frames of Cosmos Transfer: as many as asked, and no more than its controls have."""
    controls = arguments.get("controls")
    return frames if controls is None else min(frames, frames_of_video(controls))


def twice_as_many(pipe: Any, stride: int, arguments: Arguments, frames: int) -> int:
    """Return the frames of a pipeline that puts one between every two: LTX-2.5 where it refines time."""
    return 2 * (frames - 1) + 1


def _value(pipe: Any, arguments: Arguments, name: str) -> Any:
    """Return an argument of a call, or its default."""
    given = arguments.get(name)
    return defaults_of_call(pipe).get(name) if given is None else given


def _chunk(pipe: Any, stride: int, arguments: Arguments) -> int:
    return (_value(pipe, arguments, "num_latent_frames_per_chunk") - 1) * stride + 1
