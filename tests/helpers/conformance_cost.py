"""Print what the check of facts costs, one line for each small pipeline: ``python tests/helpers/conformance_cost.py``.

``check`` is ``genkit.check``; ``first forward`` is the look at the models at the first forward after ``apply``.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from small_pipelines import SMALL

import genkit
from genkit.attention.conformance.model import check_model
from genkit.pipelines.matching import card_of
from genkit.recording.recording import record


def seconds(work: Callable[[], object]) -> tuple[float, float]:
    """Return wall seconds and processor seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def look(name: str) -> None:
    """Print the line of one small pipeline."""
    small = SMALL[name]
    pipe = small.build()
    pipe.set_progress_bar_config(disable=True)
    card, first = card_of(pipe), record(pipe, **small.arguments()).first
    brief = seconds(lambda: [check_model(first[part], card.models[part], brief=True) for part in card.models])
    whole = seconds(lambda: genkit.check(pipe, **small.arguments()))
    print(f"{name:50} first forward {brief[0]:6.2f} s ({brief[1]:5.2f})   check {whole[0]:6.2f} s ({whole[1]:5.2f})")


if __name__ == "__main__":
    for one in sys.argv[1:] or sorted(SMALL):
        try:
            look(one)
        except genkit.UsageError as error:
            print(f"{one:50} {error}")
