"""genkit's words for inputs: what each means, its form, and pipelines that take it."""

from dataclasses import dataclass
from typing import Literal

from genkit.attention.facts.inputs import Form

Resize = Literal["crop", "fit", "pad"]
"""How an image of another shape is brought to size: its middle; all of it, stretched; or all of it, with black bars."""
RESIZES: tuple[Resize, ...] = ("crop", "fit", "pad")


@dataclass(frozen=True, kw_only=True)
class Word:
    """One input as users know it."""

    form: Form
    """Form of the value."""
    about: str
    """Description for users."""
    arguments: tuple[str, ...]
    """Names that diffusers' pipelines have for it, the usual one first."""
    takers: tuple[str, ...]
    """Some pipelines that take it, to name in a refusal; empty: there is none in diffusers."""


WORDS: dict[str, Word] = {
    "image": Word(
        form="image",
        about="Image that the video begins with, or shows: a file.",
        arguments=("image", "cond_image"),
        takers=("WanImageToVideoPipeline", "LTXImageToVideoPipeline", "HunyuanVideoImageToVideoPipeline"),
    ),
    "last_image": Word(
        form="image",
        about="Image that the video ends with: a file.",
        arguments=("last_image",),
        takers=("WanImageToVideoPipeline", "HunyuanVideoFramepackPipeline", "LTXConditionPipeline"),
    ),
    "video": Word(
        form="video",
        about="Video that is changed or continued: a file.",
        arguments=("video",),
        takers=("WanVideoToVideoPipeline", "WanVACEPipeline", "CogVideoXVideoToVideoPipeline", "LTXConditionPipeline"),
    ),
    "mask": Word(
        form="mask",
        about="Where the video is made new, white: a video or an image.",
        arguments=("mask", "mask_video"),
        takers=("WanVACEPipeline", "WanAnimatePipeline", "EasyAnimateInpaintPipeline"),
    ),
    "audio": Word(
        form="audio",
        about="Sound that the video follows: a file.",
        arguments=("audio",),
        takers=(),
    ),
    "reference": Word(
        form="images",
        about="Images of what the video shows, such as a person or a thing.",
        arguments=("reference_images",),
        takers=("WanVACEPipeline", "LTX2InContextPipeline"),
    ),
    "control": Word(
        form="video",
        about="Video of edges, depth or poses that the video follows: a file.",
        arguments=("control_video", "controls", "conditioning_frames"),
        takers=("CogVideoXFunControlPipeline", "Cosmos2_5_TransferPipeline", "AnimateDiffControlNetPipeline"),
    ),
    "pose_video": Word(
        form="video",
        about="Video of the skeleton whose motion the person follows: a file.",
        arguments=("pose_video",),
        takers=("WanAnimatePipeline",),
    ),
    "face_video": Word(
        form="video",
        about="Video of the face whose expressions the person follows: a file.",
        arguments=("face_video",),
        takers=("WanAnimatePipeline",),
    ),
    "background": Word(
        form="video",
        about="Video of the background that a person is put into: a file.",
        arguments=("background_video",),
        takers=("WanAnimatePipeline",),
    ),
    "strength": Word(
        form="number",
        about="How much of a given video or image is changed, or how strictly a condition is followed: 0 to 1.",
        arguments=("strength", "cond_strength"),
        takers=("WanVideoToVideoPipeline", "CogVideoXVideoToVideoPipeline", "AnimateDiffVideoToVideoPipeline"),
    ),
}
"""Every input, by the name of its argument of ``generate`` and its field of a request."""
MEDIA = tuple(name for name, word in WORDS.items() if word.form != "number")
"""Words for images, videos and sound."""
OF_ARGUMENT = {argument: name for name, word in WORDS.items() for argument in word.arguments}
"""Word of each argument that diffusers' pipelines have."""
