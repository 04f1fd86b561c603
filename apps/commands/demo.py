"""Five short videos of the embedded model, with and without plug-ins, the oracle's verdicts, and a contact sheet."""

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genkit.apps.commands.places import place_for, put, report_moved
from genkit.apps.terminal.signals import exit_code
from genkit.request import Request
from genkit.video.targets import Target

FOLDER = Path("outputs/demo")
SEED = 7
PROMPT = "a large red circle moves right on a navy background"
TWO = "a large blue square moves left on a beige background | a large red circle moves right on a beige background"
LONG = 65


@dataclass(frozen=True)
class Scene:
    """One video of the demo."""

    name: str
    caption: str
    prompt: str
    num_frames: int = LONG
    plugins: tuple[str, ...] = ()

    def request(self) -> Request:
        """Return the request of this video."""
        return Request(prompt=self.prompt, num_frames=self.num_frames, seed=SEED, plugins=self.plugins)


SCENES = (
    Scene("1-plain", "plain, native length", PROMPT, 17),
    Scene("2-long-plain", "four times as long, plain", PROMPT),
    Scene("3-long-positions", "four times as long, PositionInterpolation", PROMPT, plugins=("position-interpolation",)),
    Scene(
        "4-long-positions-radial",
        "the same over half of the attention, Radial",
        PROMPT,
        plugins=("position-interpolation", "radial:density=0.5"),
    ),
    Scene("5-two-prompts", "two prompts, twice as long, FreeNoise", TWO, 33, plugins=("timeline", "freenoise")),
)


def run(folder: Path = FOLDER) -> int:
    """Make the videos, their recipes and ``sheet.png`` in ``folder``, print timings, and return the exit code."""
    from genkit.loading import load
    from genkit.video.ours import is_film, is_picture
    from genkit.video.sheet import contact_sheet, write_png

    places = [place_for(folder / f"{scene.name}.mp4", (".mp4",), "video", is_film) for scene in SCENES]
    place = place_for(folder / "sheet.png", (".png",), "contact sheet", is_picture)
    begun = time.perf_counter()
    try:
        pipe = load("tiny")
        strips = [_make(scene, pipe, target) for scene, target in zip(SCENES, places, strict=True)]
        drawn = contact_sheet(strips, columns=9)
        sheet = put(place, lambda part: write_png(drawn, part), "contact sheet")
    except KeyboardInterrupt as error:
        print(f"genkit: stopped; finished videos are in {str(folder)!r}", file=sys.stderr)
        return exit_code(error)
    print(f"{sheet}: look here first; all in {time.perf_counter() - begun:.0f} s")
    return 0


def _make(scene: Scene, pipe: Any, target: Target) -> tuple[str, Any, float]:
    """Make and save one video; return its strip for the contact sheet."""
    from genkit.apps.terminal.progress import progress_bar
    from genkit.apps.terminal.warning import warning
    from genkit.making import make
    from genkit.tiny.verdict import verdict

    print(f"{scene.caption}: {scene.prompt!r}", file=sys.stderr)
    with progress_bar() as draw:
        video = make(scene.request(), on_event=warning(draw), pipe=pipe)
    path = video.save(target)
    report_moved(path, target, "video")
    receipt = video.receipt
    assert receipt is not None
    shares = "".join(f", {name} {share.mean:.0%} of attention" for name, share in receipt.attention.densities.items())
    said = str(verdict(video.frames, scene.prompt))
    print(f"{path}: {scene.caption}, {receipt.frames} frames in {receipt.seconds.total:.1f} s{shares}; {said}")
    return f"{scene.caption} ({said}): {scene.prompt}", video.frames, video.fps
