"""FIFO against a slow reference, frame by frame, which knows nothing of queues, turns or windows of tensors."""

from collections.abc import Callable
from typing import Any

import families
import pytest
import torch
from torch import Tensor

import genkit

FRAMES = 9
"""Latent frames of each video."""
Predict = Callable[[list[Tensor], list[float]], list[Tensor]]
"""Guided predictions for frames side by side, each with its own timestep."""
STRIDE = {"wan": 4, "wan22_5b": 4, "ltx": 8}


def given(name: str, latent_frames: int, steps: int) -> dict[str, Any]:
    frames = STRIDE[name] * (latent_frames - 1) + 1
    return families.call_arguments(name, num_frames=frames, num_inference_steps=steps)


def wan_predict(pipe: Any, asked: dict[str, Any]) -> Predict:
    texts = pipe.encode_prompt(asked["prompt"], asked["negative_prompt"], max_sequence_length=families.TEXT)

    def predict(frames: list[Tensor], times: list[float]) -> list[Tensor]:
        hidden = torch.cat(frames, 2)
        of_tokens = torch.tensor([times]).repeat_interleave(hidden.shape[3] // 2 * (hidden.shape[4] // 2), 1)
        wanted, other = (pipe.transformer(hidden, of_tokens, text, return_dict=False)[0] for text in texts)
        return list((other + asked["guidance_scale"] * (wanted - other)).split(1, 2))

    return predict


def ltx_predict(pipe: Any, asked: dict[str, Any]) -> Predict:
    text, mask, other_text, other_mask = pipe.encode_prompt(
        asked["prompt"], asked["negative_prompt"], max_sequence_length=families.TEXT
    )
    rows, cols = (
        asked["height"] // pipe.vae_spatial_compression_ratio,
        asked["width"] // pipe.vae_spatial_compression_ratio,
    )

    def predict(frames: list[Tensor], times: list[float]) -> list[Tensor]:
        def run(text: Tensor, mask: Tensor) -> Tensor:
            of_tokens = torch.tensor([times]).repeat_interleave(rows * cols, 1)
            where = (pipe.vae_temporal_compression_ratio / 25, *[pipe.vae_spatial_compression_ratio] * 2)
            volume = {"num_frames": len(frames), "height": rows, "width": cols, "rope_interpolation_scale": where}
            return pipe.transformer(torch.cat(frames, 1), text, of_tokens, mask, **volume).sample.float()

        wanted, other = run(text, mask), run(other_text, other_mask)
        return list((other + asked["guidance_scale"] * (wanted - other)).double().chunk(len(frames), 1))

    return predict


def reference(pipe: Any, predict: Predict, clip: list[Tensor], asked: dict[str, Any], lookahead: bool) -> list[Tensor]:
    """Every frame has a number, 0 for the first of the video, and the count of the steps that it has done."""
    steps, window, draws = asked["num_inference_steps"], len(clip), asked["generator"]
    sigmas, times = pipe.scheduler.sigmas.double(), [*pipe.scheduler.timesteps.tolist(), 0]
    side_by_side = 2 if clip[0].ndim == 5 else 1
    noise = torch.randn(torch.cat(clip[:1] * steps, side_by_side).shape, generator=draws).chunk(steps, side_by_side)
    half = min(steps, window // 2 if lookahead else window)
    frame, done = {}, {}
    for number in range(-steps - window, window):
        done[number] = min(steps, window - 1 - number)
        clean, sigma = clip[max(0, number)].double(), sigmas[done[number]]
        frame[number] = (1 - sigma) * clean + (sigma * noise[-1 - done[number]] if done[number] < steps else 0)
    newest = window - 1
    while done.get(FRAMES - 1, 0) < steps:
        oldest, moved, answers = newest - steps + 1, {}, {}
        for number in range(oldest, newest + 1):
            group = (number - oldest) // half
            last = min(oldest + (group + 1) * half - 1, newest)
            seen = range(last - window + 1, last + 1)
            if last not in answers:
                answers[last] = predict([frame[other] for other in seen], [times[done[other]] for other in seen])
            now, then = sigmas[done[number]], sigmas[done[number] + 1]
            moved[number] = frame[number] + (then - now) * answers[last][number - seen[0]]
        for number, value in moved.items():
            frame[number], done[number] = value, done[number] + 1
        newest += 1
        frame[newest], done[newest] = torch.randn(clip[0].shape, generator=draws).double(), 0
    return [frame[number] for number in range(FRAMES)]


@pytest.mark.parametrize(
    ("name", "steps", "window", "lookahead"),
    [("wan", 7, 5, True), ("wan", 3, 5, True), ("wan", 7, 3, False), ("wan22_5b", 6, 4, True), ("ltx", 6, 4, True)],
)
@torch.no_grad()
def test_it_equals_the_reference(name: str, steps: int, window: int, lookahead: bool) -> None:
    pipe = (families.FAMILIES | families.VARIANTS)[name]()
    pipe.transformer.double()
    pipe.text_encoder.double()
    predict = (ltx_predict if name == "ltx" else wan_predict)(pipe, given(name, FRAMES, steps))
    asked = given(name, window, steps)
    clip = pipe(**asked).frames
    wanted = reference(pipe, predict, list(clip.chunk(window, 1 if name == "ltx" else 2)), asked, lookahead)
    with genkit.apply(pipe, genkit.FIFO(window=window, lookahead=lookahead)):
        made = pipe(**given(name, FRAMES, steps)).frames.chunk(FRAMES, 1 if name == "ltx" else 2)
    for number, (one, other) in enumerate(zip(made, wanted, strict=True)):
        assert torch.allclose(one.double(), other, atol=2e-5 * float(other.abs().max())), f"latent frame {number}"
