"""docs/tracing.md: what a trace finds of every pipeline whose facts are hidden; ``make traces`` writes it again."""

import re
import sys

import pytest
from small_pipelines import class_of
from traced_facts import FACTS, compared
from tree import TOP

from genkit.errors import first_line

PAGE = TOP / "docs" / "tracing.md"
BEGIN, END = "<!-- traces: begin -->", "<!-- traces: end -->"
TRACED = (
    *("WanPipeline", "WanImageToVideoPipeline", "WanVACEPipeline", "WanAnimatePipeline", "SkyReelsV2Pipeline"),
    *("AnyFlowPipeline", "HeliosPipeline", "LTXPipeline", "LTXImageToVideoPipeline", "LTX2Pipeline"),
    *("HunyuanVideoPipeline", "HunyuanVideo15Pipeline", "HunyuanVideoFramepackPipeline", "CogVideoXPipeline"),
    *("MochiPipeline", "Kandinsky5T2VPipeline", "Kandinsky6TI2VAPipeline", "MotifVideoPipeline-decoder"),
    *("AllegroPipeline", "EasyAnimatePipeline", "LattePipeline", "CosmosTextToWorldPipeline", "Cosmos3OmniPipeline"),
    *("SanaVideoPipeline", "StableVideoDiffusionPipeline", "AnimateDiffPipeline", "TextToVideoSDPipeline"),
)
"""Small pipelines on the page: one of each family, and those with other tokens or models around the video."""
SEEN_NOW = ["WanPipeline", "LTXPipeline", "HunyuanVideoFramepackPipeline", "MochiPipeline"]


def row(name: str) -> tuple[str, list[str]]:
    """The line of one pipeline and what differs."""
    try:
        found = compared(name)
    except Exception as error:
        return f"| {class_of(name)} | failed |{' - |' * len(FACTS)}", [f"{first_line(error)} ({type(error).__name__})"]
    cells = ["same" if found.differs[fact] is None else "**differs**" for fact in FACTS]
    arguments = "chosen" if found.chosen else "given"
    reasons = [f"{fact}: {found.differs[fact]}" for fact in FACTS if found.differs[fact] is not None]
    return f"| {class_of(name)} | {arguments} | {' | '.join(cells)} |", reasons


def table() -> str:
    """All lines, the share of each fact, and what differs."""
    head = f"| pipeline | arguments | {' | '.join(FACTS)} |\n{'|---' * (2 + len(FACTS))}|"
    lines, said = [], []
    for name in TRACED:
        found = row(name)
        print(found[0], *found[1], sep="\n    ", file=sys.stderr, flush=True)
        lines.append(found[0])
        said += [f"- **{class_of(name)}**: {'; '.join(found[1])}"] if found[1] else []
    cells = [[cell.strip() for cell in line.split("|")[3:-1]] for line in lines]
    shares = [f"{sum(line[place] == 'same' for line in cells)} of {len(lines)}" for place in range(len(FACTS))]
    lines.append(f"| **the same** | | {' | '.join(shares)} |")
    return "\n".join([head, *lines, "", "## What differs", "", *said])


@pytest.mark.parametrize("name", SEEN_NOW)
def test_a_row_is_what_is_seen_now(name: str) -> None:
    found = row(name)
    assert found[0] in PAGE.read_text()
    if found[1]:
        assert f"- **{name}**: {'; '.join(found[1])}\n" in PAGE.read_text()


def test_where_the_video_is_and_which_layers_see_it_is_found_in_most_families() -> None:
    """The page says so: volume, kinds and other tokens of more than 85 in 100 pipelines."""
    rows = re.findall(r"^\| (\w+) \| (?:chosen|given|failed) \| (.*) \|$", PAGE.read_text(), re.M)
    assert len(rows) == len(TRACED)
    for fact in ("volume", "kinds", "other tokens"):
        place = FACTS.index(fact)
        same = sum(cells.split(" | ")[place] == "same" for _, cells in rows)
        assert same >= 0.85 * len(rows), f"{fact}: {same} of {len(rows)}"


if __name__ == "__main__":
    head, _, rest = PAGE.read_text().partition(BEGIN)
    PAGE.write_text(f"{head}{BEGIN}\n{table()}\n{END}{rest.partition(END)[2]}")
