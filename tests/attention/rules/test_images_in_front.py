"""References in front of the video, in its volume but outside its time: windows and blends count the video's frames."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from test_windows import call_of, qkv

from genkit.attention.calls.dense import dense
from genkit.attention.geometry.grid import VideoGrid
from genkit.attention.rules.spectral_blend import SpectralBlendRule
from genkit.attention.rules.windows import WindowRule

LED = VideoGrid(frames=9, rows=2, cols=3, lead=1)
"""One image and eight frames of the video."""
OTHER = replace(LED, frames=8, lead=0, before=6)
"""The same tokens, the image's as those of another kind in front."""
VIDEO = slice(6, None)
RULES = (
    WindowRule(window=4, stride=2),
    SpectralBlendRule(radius=1, until=1.0, cutoff_time=0.25, cutoff_space=0.25, native_frames=4),
)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_the_video_is_attended_as_if_the_image_were_no_frame(rule: Any) -> None:
    q, k, v = qkv(LED)
    attend = rule.wrap(dense)
    led, other = attend(q, k, v, call_of(LED)), attend(q, k, v, call_of(OTHER))
    torch.testing.assert_close(led[:, :, VIDEO], other[:, :, VIDEO], atol=1e-12, rtol=0)
    assert torch.isfinite(led).all()


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_a_video_as_long_as_the_training_changes_nothing_whatever_stands_in_front(rule: Any) -> None:
    short = replace(LED, frames=5)
    q, k, v = qkv(short)
    call = call_of(short)
    assert torch.equal(rule.wrap(dense)(q, k, v, call), dense(q, k, v, call_of(short)))
    assert call.run.notes[0].startswith(f"{rule.name}: 4 latent frames")
