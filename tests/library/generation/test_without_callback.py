"""A pipeline that takes no callback is watched by its solver steps: events, and an end where the caller asks for it."""

import pytest
from small_pipelines import SMALL

import genkit
from genkit.generation.events import Progress

ASKED = {"num_frames": 9, "height": 64, "width": 96, "num_inference_steps": 3, "seed": 7}


class EnoughError(Exception):
    pass


def test_steps_are_reported_and_may_end_the_run() -> None:
    pipe = SMALL["HunyuanVideo15Pipeline"].build()
    with genkit.apply(pipe) as handle:
        steps: list[tuple[str, int, int]] = []
        video = handle.generate(
            "a red circle", on_event=lambda event: steps.append((event.stage, event.step, event.total)), **ASKED
        )
        assert [step for stage, step, _ in steps if stage == "denoise"] == [1, 2, 3]
        assert {total for stage, _, total in steps if stage == "denoise"} == {3}
        assert len(video.frames) == 9 and video.receipt.family == "hunyuanvideo1.5"

        def enough(event: Progress) -> None:
            if event.step == 2:
                raise EnoughError

        with pytest.raises(EnoughError):
            handle.generate("a red circle", on_event=enough, **ASKED)
    assert "step" not in vars(pipe.scheduler)
