"""docs/models.md: every video pipeline of diffusers, and what works in it; ``make models`` writes it again."""

import re
import sys
from collections.abc import Callable, Iterable
from typing import Any

import pytest
import torch
from released.every_release import RELEASED
from small_pipelines import MODULAR, MODULAR_WITHOUT, SMALL, WITHOUT, class_of
from small_pipelines.installed import modular_pipelines, video_pipelines
from tree import TOP

import genkit
from genkit.attention.facts.call import defaults_of_call
from genkit.errors import first_line
from genkit.pipelines import known
from genkit.pipelines.matching import card_of
from genkit.plugins import catalogue

PAGE = TOP / "docs" / "models.md"
ALL = {**SMALL, **MODULAR}
COLUMNS = {
    "sparse": "threshold:tau=1,block=8,min_tokens=1,dense_steps=0,dense_layers=0",
    "windows": "windows:window=3,stride=2,beyond_training=true",
    "positions": "position-interpolation:factor=2",
    "timeline": "timeline",
    "step cache": "pab:spatial_attention_timestep_skip_range=-1x1001",
}
"""One plug-in for each column, set so that it acts on a clip of a few latent frames."""
EVENTS = "a red circle | a blue square"


def main_entries() -> dict[str, str]:
    """The small pipeline of each class: the one without a variant, or else the first."""
    found: dict[str, str] = {}
    for name in sorted(ALL, key=lambda name: ("-" in name, name)):
        found.setdefault(class_of(name), name)
    return found


def row(name: str, pipe: Any) -> tuple[list[str], list[str]]:
    """The cells of one pipeline, and the reasons of those that say no."""
    small = ALL[name]
    try:
        card = card_of(pipe)
    except genkit.UsageError as error:
        return ["no", *["-"] * (1 + len(COLUMNS))], [str(error)]
    plain = small.video(pipe)
    with genkit.apply(pipe):
        same = torch.equal(small.video(pipe), plain)
    same &= torch.equal(small.video(pipe), plain)
    cells, reasons = [card.title, "yes" if same else "**no**"], []
    for column, text in COLUMNS.items():
        mark, reason = tried(pipe, column, text, plain, lambda **changes: small.video(pipe, **changes))
        cells.append(mark)
        reasons += [f"{column}: {reason}"] if reason else []
    return cells, reasons


def tried(
    pipe: Any, column: str, text: str, plain: torch.Tensor, video: Callable[..., torch.Tensor]
) -> tuple[str, str]:
    """Whether one plug-in works in a pipeline, and the reason if it does not."""
    changes: dict[str, Any] = {}
    if column == "timeline":
        if "prompt" not in defaults_of_call(pipe):
            return "no", "it takes no prompt"
        changes = {"prompt": EVENTS}
    try:
        with genkit.apply(pipe, catalogue.parse(text)) as handle:
            made = video(**changes)
            run = handle.session.run
    except Exception as error:
        return "no", f"{first_line(error)} ({type(error).__name__})"
    if not torch.isfinite(made.float()).all():
        return "no", "the output is not finite"
    if column == "sparse" and not run.densities.get("threshold"):
        return "no", next((reason for _, reason in run.refusals), "no call was sparse")
    if column != "sparse" and made.shape == plain.shape and torch.equal(made, plain):
        return "no", next(iter(run.notes), "it changed nothing")
    return "yes", ""


def table(classes: Iterable[str]) -> str:
    """The rows of pipeline classes, and below them the reasons."""
    entries = main_entries()
    lines = [
        f"| pipeline | known as | as before without, and after removal | {' | '.join(COLUMNS)} |",
        "|---" * (3 + len(COLUMNS)) + "|",
    ]
    reasons: dict[str, list[str]] = {}
    for name in classes:
        if (reason := {**WITHOUT, **MODULAR_WITHOUT}.get(name)) is not None:
            cells, found = ["no", *["-"] * (1 + len(COLUMNS))], [f"it {reason}"]
        else:
            cells, found = row(entries[name], ALL[entries[name]].build())
        lines.append(f"| {name} | {' | '.join(cells)} |")
        reasons[name] = found
    said = [f"- **{name}**: {'; '.join(found)}" for name, found in reasons.items() if found]
    return "\n".join([*lines, "", "### Reasons", "", *said])


CHECKED = """A configuration that is checked is the released one, as its source shows it, built without weights by
`tests/library/pipelines/test_released.py`: family, layers, tokens, length, size and memory are what genkit says. "Not
checked" means that no source was found that shows it, so its figures are those of documentation and model cards alone.
Weights are the denoising models in bfloat16. A licence is empty where no source was read. **None of them has ever been
run with its real weights here**, but for the embedded model."""


def checkpoints() -> str:
    """The checkpoints that were published, each with its figures, and the source that its configuration is from."""
    sources = {hub_id: one.source for one in RELEASED for hub_id in one.hub_ids}
    lines = ["| hub | family | frames | fps | weights | licence | configuration |", "|---|---|---|---|---|---|---|"]
    for one, hub_id in ((card, hub_id) for card in known.checkpoints() for hub_id in card.hub_ids):
        gib, source = one.weights(hub_id), sources.get(hub_id)
        cells = [
            hub_id,
            one.title,
            str(one.native_frames),
            f"{one.fps:g}",
            "" if gib is None else f"{gib:.1f} GiB",
            one.licence,
            _linked(source) if source else "this package" if one.family == "tiny" else "not checked",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([CHECKED, "", *lines])


def _linked(source: str) -> str:
    """A link to the address at the beginning of a source, under its last part, with what follows it."""
    address, comma, rest = source.partition(",")
    return f"[{address.rpartition('/')[2]}]({address}){comma}{rest}"


PARTS: dict[str, Callable[[], str]] = {
    "models": lambda: table(video_pipelines()),
    "modular": lambda: table(modular_pipelines()),
    "checkpoints": checkpoints,
}
"""What is written between the marks of each part of the page."""


def rewritten(page: str, part: str) -> str:
    """The page with one part written again."""
    begin, end = (f"<!-- {part}: {mark} -->" for mark in ("begin", "end"))
    head, _, rest = page.partition(begin)
    return f"{head}{begin}\n{PARTS[part]()}\n{end}{rest.partition(end)[2]}"


def shown(page: str) -> dict[str, bool]:
    """Which classes the page lists, and whether each is accepted."""
    rows = re.findall(r"^\| (\w+Pipeline\w*) \| ([^|]*) \|", page, re.M)
    return {name: known.strip() != "no" for name, known in rows}


def test_the_page_lists_every_video_pipeline_of_the_installed_diffusers() -> None:
    """A new release of diffusers shows its new pipelines here; the floor of the versions has fewer."""
    assert {*video_pipelines(), *modular_pipelines()} - set(shown(PAGE.read_text())) == set()


def test_the_page_lists_every_checkpoint() -> None:
    assert checkpoints() in PAGE.read_text()


@pytest.mark.parametrize("name", ["WanPipeline", "CogVideoXPipeline", "WanModularPipeline"])
def test_a_row_is_what_is_seen_now(name: str) -> None:
    cells, _ = row(name, ALL[name].build())
    assert f"| {name} | {' | '.join(cells)} |" in PAGE.read_text()


if __name__ == "__main__":
    for wanted in sys.argv[1:] or PARTS:
        PAGE.write_text(rewritten(PAGE.read_text(), wanted))
