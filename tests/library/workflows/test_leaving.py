"""The ways out: a handle that was dropped, and removal while a video is being made."""

import gc
import threading
from typing import Any

import pytest
import torch
from workflows import applied, build, expected, video

import genkit

CUT = "the plug-ins were removed while the video was being made, so it was dropped; make it again"


def test_plug_ins_of_a_dropped_handle_stay_in_until_they_are_removed_by_the_pipeline() -> None:
    pipe = build("wan")
    video("wan", pipe)
    before = sorted(vars(pipe))
    applied(pipe, "sparse")
    gc.collect()
    assert torch.equal(video("wan", pipe), expected("wan", "sparse"))
    with pytest.raises(genkit.UsageError, match=r"already has plug-ins; take them out with genkit\.remove\(pipe\)"):
        applied(pipe, "nothing")
    genkit.remove(pipe)
    genkit.remove(pipe)
    assert sorted(vars(pipe)) == before
    assert torch.equal(video("wan", pipe), expected("wan", "nothing"))
    with applied(pipe, "sparse"):
        assert torch.equal(video("wan", pipe), expected("wan", "sparse"))


@pytest.mark.parametrize("how", ["handle", "pipeline"])
def test_removal_in_a_callback_of_a_direct_call_ends_the_call(how: str) -> None:
    pipe = build("wan")
    handle = applied(pipe, "sparse")

    def leave(*given: Any) -> dict[str, Any]:
        handle.remove() if how == "handle" else genkit.remove(pipe)
        return {}

    with pytest.raises(genkit.GenkitError, match=CUT):
        video("wan", pipe, callback_on_step_end=leave)
    assert not handle.receipts
    handle.remove()
    assert torch.equal(video("wan", pipe), expected("wan", "nothing"))
    with applied(pipe, "sparse"):
        assert torch.equal(video("wan", pipe), expected("wan", "sparse"))


def test_removal_by_another_thread_waits_for_the_call_to_end() -> None:
    pipe = build("wan")
    handle = applied(pipe, "sparse")
    refused: list[BaseException] = []

    def other() -> None:
        try:
            handle.remove()
        except genkit.GenkitError as error:
            refused.append(error)

    def from_elsewhere(*given: Any) -> dict[str, Any]:
        thread = threading.Thread(target=other)
        thread.start()
        thread.join(60)
        return {}

    assert torch.equal(video("wan", pipe, callback_on_step_end=from_elsewhere), expected("wan", "sparse"))
    assert len(refused) == 2 and "is already making a video, in another thread" in str(refused[0])
    handle.remove()
    assert torch.equal(video("wan", pipe), expected("wan", "nothing"))


def test_a_pipeline_that_applies_in_its_own_call_is_left_at_its_end_however_it_ends() -> None:
    pipe = build("wan")
    stock = type(pipe)

    class Own(stock):  # type: ignore[misc, valid-type]
        def __call__(self, **given: Any) -> Any:
            with applied(self, "sparse"):
                return super().__call__(**given)

    pipe.__class__ = Own
    assert torch.equal(video("wan", pipe), expected("wan", "sparse"))

    def fail(*given: Any) -> dict[str, Any]:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        video("wan", pipe, callback_on_step_end=fail)
    assert torch.equal(video("wan", pipe), expected("wan", "sparse"))
    pipe.__class__ = stock
    assert torch.equal(video("wan", pipe), expected("wan", "nothing"))
