"""Measure the ceiling of a world: ``python -m genkit.tiny.ceiling --world 2``.

The oracle reads exact clips of held-out prompts at 1, 2, 4, 8 and 16 times the native length. A model that draws
perfectly reaches these shares and no more.
"""

import argparse

import torch

from genkit.tiny.events import answers
from genkit.tiny.motions import PACKAGED, WORLDS, World
from genkit.tiny.oracle import Reading
from genkit.tiny.tally import Result, held_out_scenes, summarise
from genkit.tiny.world import NATIVE_SIDE, Scene, render

TIMES = (1, 2, 4, 8, 16)


def exact_results(scenes: list[Scene], world: World, num_frames: int, seed: int) -> list[Result]:
    """Return the oracle's answers to an exact clip of each scene, one for every window of native length."""
    generator = torch.Generator().manual_seed(seed)
    found = []
    for scene in scenes:
        (clip,) = render([scene], generator, num_frames=num_frames, side=NATIVE_SIDE, world=world)
        found += [Result(scene, Reading((), None), right) for right in answers(clip, scene, world)]
    return found


def table(world: World, prompts: int, seed: int) -> str:
    """Return the joint shares in percent, a line for each length and a column for each kind of prompt."""
    lines: list[str] = []
    for times in TIMES:
        frames = 1 + times * (world.native_frames - 1)
        rows = summarise(exact_results(held_out_scenes(prompts, seed, world), world, frames, seed))
        if not lines:
            lines.append(f"{'joint, in %':12}" + "".join(f"{name:>18}" for name in rows))
        cells = [
            f"{100 * s.share:.1f} ({100 * s.low:.0f}-{100 * s.high:.0f})" for s in (r["joint"] for r in rows.values())
        ]
        lines.append(f"{frames:>5} frames" + "".join(f"{cell:>18}" for cell in cells))
    return "\n".join(lines)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--world", type=int, choices=WORLDS, default=PACKAGED.version, help="rules of motion")
    parser.add_argument("--prompts", type=int, default=60, help="held-out prompts at each length")
    parser.add_argument("--seed", type=int, default=0, help="chooses prompts, places and phases")
    args = parser.parse_args()
    print(table(WORLDS[args.world], args.prompts, args.seed))


if __name__ == "__main__":
    main()
