"""Detect broken text embeddings, latents and frames.

NaN and infinity end a run, with the stage, the usual cause and the fix. Frames that are black, of one colour or all the
same may be intended, so they only add a note to the receipt.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from genkit.errors import NotFiniteError

HALF = "the usual cause is float16, which overflows above 65504"
"""Cause that is reported if weights are in float16."""
DARK, ALIKE = 2 / 255, 1 / 255
"""Max brightness of a black frame, and max difference within a frame of one colour, in [0, 1]."""


def check_encoded(part: Any, outputs: Any) -> None:
    """Check what the text encoder returned.

    Raises:
        NotFiniteError: it contains NaN or infinity.
    """
    if any(not _finite(tensor) for tensor in _tensors(outputs)):
        raise NotFiniteError(
            f"NaN in the text: the text encoder ({_named(part)}) gave NaN or infinity, before the first step; "
            f"{_advice(part, 'text_encoder')}"
        )


def check_latents(latents: Tensor, step: int, total: int) -> None:
    """Check the latents after solver step ``step``, counted from 1.

    Raises:
        NotFiniteError: they contain NaN or infinity.
    """
    if not _finite(latents):
        raise NotFiniteError(
            f"NaN in the latents: they became NaN or infinite in step {step} of {total}; stopped there and wrote "
            "nothing; try dtype float32 or bfloat16, or fewer plug-ins"
        )


def check_decoded(vae: Any, frames: NDArray[Any], infinite: int = 0) -> None:
    """Check the decoded frames ``[T, H, W, 3]``; ``infinite`` is the number of decoded pieces that were not finite.

    Raises:
        NotFiniteError: they contain NaN or infinity.
    """
    broken = np.nonzero(~np.isfinite(frames).all(axis=(1, 2, 3)))[0]
    if not len(broken) and not infinite:
        return
    where = f"{len(broken)} of {len(frames)} frames, the first is frame {broken[0]}" if len(broken) else "its output"
    raise NotFiniteError(
        f"NaN in the frames: the decoder ({_named(vae)}) gave NaN or infinity in {where}, after the last step, whose "
        f"latents were finite; {_advice(vae, 'vae')}"
    )


def notes_on(frames: NDArray[Any]) -> Iterator[str]:
    """Yield a sentence if frames ``[T, H, W, 3]`` in [0, 1] are black, of one colour, or all the same."""
    brightest = frames.max(axis=(1, 2, 3))
    spread = (frames.max(axis=(1, 2)) - frames.min(axis=(1, 2))).max(axis=1)
    black = brightest <= DARK
    plain = (spread <= ALIKE) & ~black
    cause = "if that was not asked for, the usual cause is a VAE in float16: use dtype='bfloat16' or 'float32'"
    if black.any():
        yield f"black frames: {_which(black)} black; {cause}"
    if plain.any():
        yield f"frames of one colour: {_which(plain)} of one colour; {cause}"
    if len(frames) > 1 and not (black | plain).all() and np.abs(frames - frames[:1]).max() <= ALIKE:
        yield f"a frozen video: all {len(frames)} frames are the same; if that was not asked for, ask for motion"


def _which(found: NDArray[np.bool_]) -> str:
    if found.all():
        return f"all {len(found)} frames are" if len(found) > 1 else "the only frame is"
    verb = "is" if found.sum() == 1 else "are"
    return f"{found.sum()} of {len(found)} frames, the first is frame {int(np.argmax(found))}, {verb}"


def _tensors(outputs: Any) -> Iterator[Tensor]:
    for item in outputs if isinstance(outputs, tuple | list) else (outputs,):
        if isinstance(item, Tensor):
            yield item


def _finite(tensor: Tensor) -> bool:
    return not tensor.is_floating_point() or bool(torch.isfinite(tensor).all())


def _dtype(part: Any) -> str:
    return str(getattr(part, "dtype", "unknown precision")).removeprefix("torch.")


def _named(part: Any) -> str:
    return f"{type(part).__name__}, {_dtype(part)}"


def _advice(part: Any, name: str) -> str:
    if _dtype(part) == "float16":
        return f"{HALF}: use dtype='bfloat16' or 'float32', or pipe.{name}.to(torch.float32)"
    return f"the usual cause is weights in float16, and these are in {_dtype(part)}, so their file may be damaged"
