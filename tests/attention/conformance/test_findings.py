"""How findings are put into words, and which latents are changed for them."""

import torch
from torch import Tensor, nn

from genkit.attention.conformance.finding import Finding, refusal, tokens_text
from genkit.attention.conformance.model import enough
from genkit.attention.conformance.modules import accounted, masks, patterns
from genkit.attention.conformance.moving import Latents
from genkit.attention.facts.model_facts import ModelFacts
from genkit.attention.facts.volume import Arguments, Volume, channels_first, frames_first
from genkit.attention.replays.calls import SeenCall


def where(*places: int) -> Tensor:
    found = torch.zeros(12, dtype=torch.bool)
    found[list(places)] = True
    return found


def test_tokens_are_named_by_their_ranges() -> None:
    assert tokens_text(where(3, 4, 5)) == "tokens 3 to 5"
    assert tokens_text(where(0, 2, 3)) == "tokens 0, 2 to 3"
    assert tokens_text(where(0, 2, 4, 6, 8)) == "tokens 0, 2, 4 and others"
    assert tokens_text(where()) == "no token"


def test_a_refusal_names_the_fact_and_the_way_out() -> None:
    finding = Finding(fact="transformer.before", ok=False, found="16 tokens are before the video, and the facts say 0")
    assert refusal("My Model", finding, 2) == (
        "the facts of My Model are wrong in transformer.before: 16 tokens are before the video, and the facts say 0 (2 "
        "more: genkit.check); correct them, or pass check=False to apply() to use them as they are"
    )


def latents(layout: str, shape: tuple[int, ...], **changes: object) -> Latents:
    read = {"channels": channels_first, "frames": frames_first}[layout]
    facts = ModelFacts(classes=("Toy",), layers={}, volume=read, **changes)  # type: ignore[arg-type]
    return Latents(nn.Module(), facts, {"hidden_states": torch.zeros(shape)})


def changed(found: Latents, part: str) -> set[tuple[int, ...]]:
    """Places of the axes of frames, rows and columns that are not 0 any more."""
    change = found.changed(part)  # type: ignore[arg-type]
    assert change is not None
    return {tuple(place[2:]) for place in change["hidden_states"].nonzero().tolist()}


def test_the_last_of_each_axis_is_changed() -> None:
    own = latents("channels", (1, 2, 3, 4, 5))
    assert changed(own, "frame") == {(2, row, col) for row in range(4) for col in range(5)}
    assert changed(own, "row") == {(frame, 3, col) for frame in range(3) for col in range(5)}
    assert changed(own, "column") == {(frame, row, 4) for frame in range(3) for row in range(4)}
    assert [own.axis(part) for part in ("frame", "row", "column")] == [2, 3, 4]
    first = latents("frames", (1, 3, 2, 4, 5), frame_axis=1)
    assert [first.axis(part) for part in ("frame", "row", "column")] == [1, 3, 4]


def test_a_reference_behind_the_video_is_not_changed() -> None:
    def two_frames(model: nn.Module, arguments: Arguments) -> Volume:
        frames, rows, cols = channels_first(model, arguments)
        return frames - 1, rows, cols

    facts = ModelFacts(classes=("Toy",), layers={}, volume=two_frames)
    own = Latents(nn.Module(), facts, {"hidden_states": torch.zeros(1, 2, 3, 4, 5)})
    assert {place[0] for place in changed(own, "frame")} == {1}
    assert {place[0] for place in changed(own, "row")} == {0, 1}


def test_the_first_layer_of_each_list_is_enough() -> None:
    names = ["blocks.0.attn1", "blocks.0.attn2", "blocks.1.attn1", "blocks.1.attn2", "single.0.attn"]
    facts = ModelFacts(classes=("Toy",), layers={}, volume=channels_first, text_calls=1)
    firsts = ("blocks.0.attn1", "blocks.0.attn2", "single.0.attn")
    assert enough(facts, dict.fromkeys(names, "self")) == dict.fromkeys(firsts, 1)
    assert enough(facts, dict.fromkeys(names, "joint")) == dict.fromkeys(firsts, 2)


def call(layer: str, **changes: object) -> SeenCall:
    given: dict[str, object] = {
        "layer": layer,
        "number": 0,
        "heads": (1, 1),
        "q": torch.zeros(1, 4, 4),
        "k": torch.zeros(1, 4, 4),
        "mask": "none",
        "causal": False,
    }
    return SeenCall(**(given | changes))  # type: ignore[arg-type]


def test_modules_are_accounted_for() -> None:
    model = nn.ModuleDict({"attn": nn.ModuleDict({"inner": nn.Identity()}), "other": nn.Identity()})
    facts = ModelFacts(classes=("Toy",), layers={"self": "attn"}, volume=channels_first, excluded={"other": "text"})
    assert list(patterns(model, facts)) == []
    calls = [call("attn.inner"), call("other"), call("third.core")]
    found = list(accounted(facts, {}, [call("other"), call("third.core")]))
    assert [one.found for one in found] == [
        "third.core attends, and the facts name it neither in layers nor in excluded"
    ]
    assert all(one.ok or "third" in one.found for one in accounted(facts, {"attn.inner": "self"}, calls))


def test_a_module_of_two_kinds_is_wrong() -> None:
    model = nn.ModuleDict({"attn": nn.Identity()})
    facts = ModelFacts(classes=("Toy",), layers={"self": "attn", "cross": "a.*"}, volume=channels_first)
    assert [one.found for one in patterns(model, facts)] == ["attn is both self and cross"]


def test_masks_are_named_and_a_causal_one_is_wrong() -> None:
    facts = ModelFacts(classes=("Toy",), layers={"self": "attn"}, volume=channels_first)
    (found,) = masks(facts, {"attn": "self"}, [call("attn", mask="outer")])
    assert found.ok and found.found == "self: a mask of padding among queries and keys"
    (found,) = masks(facts, {"attn": "self"}, [call("attn", causal=True)])
    assert not found.ok and found.found == "attn hides later tokens (is_causal)"
    text_first = ModelFacts(classes=("Toy",), layers={"joint": "attn"}, volume=channels_first, text_calls=1)
    assert list(masks(text_first, {"attn": "joint"}, [call("attn", causal=True)])) == []
