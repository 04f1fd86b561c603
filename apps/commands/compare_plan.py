"""Plan of a comparison: sides, prompts and seeds, checked before any work and stored in its folder."""

import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from itertools import count
from pathlib import Path
from typing import Any

from genkit.benchmarks.networks.weight_files import sha256_of
from genkit.benchmarks.report.findings import Take
from genkit.checks.arguments import draw_seed
from genkit.errors import UsageError
from genkit.files.whole import check_writable, claim, parts_in
from genkit.making import check_request
from genkit.plugins import catalogue
from genkit.plugins.conflicts import check_together
from genkit.record.receipt import versions
from genkit.request import Request
from genkit.tiny import TINY_WEIGHTS

FOLDER = Path("outputs")
PLAN = "plan.json"
WRITTEN = ("report.html", "report.json", "videos", "frames", "scores")
"""Names that a comparison writes beside its plan."""
SCHEMA_VERSION = 2
NOT_A_DIFFERENCE = ("prompt", "seed", "plugins", "options")
"""Fields that the name of a side omits."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything that determines the videos of a comparison."""

    sides: tuple[Request, ...]
    """Requests with the command line's prompt and seed; :meth:`request` inserts those of a take."""
    prompts: tuple[Any, ...]
    """Texts, or lists of events."""
    seeds: tuple[int, ...]

    @property
    def names(self) -> list[str]:
        """Names of the sides: their plug-ins, and the other fields in which they differ."""
        return [", ".join([_plugins(side) or "plain", *_changes(side, self.sides)]) for side in self.sides]

    @property
    def folders(self) -> list[str]:
        """Folder name of each side."""
        slugs = [re.sub(r"[^A-Za-z0-9.]+", "-", name)[:40].strip("-.") for name in self.names]
        return [f"{number}-{slug}" for number, slug in enumerate(slugs, 1)]

    @property
    def takes(self) -> list[Take]:
        """Every prompt with every seed."""
        return [
            Take(name=f"prompt{number}-seed{seed}", prompt=_text(prompt), seed=seed)
            for number, prompt in enumerate(self.prompts, 1)
            for seed in self.seeds
        ]

    def request(self, side: int, take: int) -> Request:
        """Return the request of one video."""
        prompt, seed = self.prompts[take // len(self.seeds)], self.seeds[take % len(self.seeds)]
        return self.sides[side].model_copy(update={"prompt": prompt, "seed": seed})

    def about(self, side: int) -> dict[str, Any]:
        """Return the request of a side, without prompt and seed, as JSON values."""
        return self.sides[side].model_dump(mode="json", exclude_none=True, exclude={"prompt", "seed"})

    def as_json(self) -> dict[str, Any]:
        """Return the plan as JSON values, with versions and weights, which also determine the videos."""
        sides = [self.about(side) for side in range(len(self.sides))]
        return {
            "schema_version": SCHEMA_VERSION,
            "sides": sides,
            "prompts": list(self.prompts),
            "seeds": list(self.seeds),
            "versions": versions(),
            "weights": _tiny_weights() if self.sides[0].model == "tiny" else None,
        }


def make_plan(sides: Sequence[Request], prompts: Sequence[Any], seeds: int, kept: dict[str, Any] | None) -> Plan:
    """Check the arguments and complete them to a plan.

    Args:
        sides: two or more requests; the first is the baseline of the others.
        prompts: prompts in addition to that of the sides.
        seeds: seeds per prompt, counting up from that of the sides.
        kept: the plan stored in the folder, whose seed is used if none was given; None if there is none.

    Raises:
        UsageError: two sides are equal, plug-ins cannot be used, a prompt is repeated, or ``seeds`` is below 1.
    """
    if seeds < 1:
        raise UsageError(f"--seeds {seeds} must be at least 1")
    _check_sides(sides)
    every = (sides[0].prompt, *prompts)
    for side in sides:
        for prompt in every:
            check_request(side.model_copy(update={"prompt": prompt}))
    if twice := next((prompt for index, prompt in enumerate(every) if prompt in every[:index]), None):
        raise UsageError(f"the prompt {_text(twice)!r} is given twice; for another video of it use another seed")
    first = sides[0].seed if sides[0].seed is not None or kept is None else kept["seeds"][0]
    begin = draw_seed(first)
    draw_seed(begin + seeds - 1)  # the last one counts too
    return Plan(sides=tuple(sides), prompts=every, seeds=tuple(range(begin, begin + seeds)))


def folder_for(out: Path | None, resume: bool) -> Path:
    """Return ``out``, or a folder in ``outputs/`` that does not exist yet.

    Raises:
        UsageError: ``resume`` was given without the folder to resume.
    """
    if out is not None:
        return out
    if resume:
        raise UsageError("--resume continues a comparison; name its folder with --out")
    names = (FOLDER / f"comparison-{date.today():%Y-%m-%d}{'' if number == 1 else f'-{number}'}" for number in count(1))
    return next(name for name in names if not name.exists())


def claim_folder(out: Path) -> Path:
    """Create ``out``, a new folder in ``outputs/``, or the next free one if another process created it first."""
    while True:
        try:
            out.mkdir(parents=True)
            return out
        except FileExistsError:
            out = folder_for(None, False)


def read_plan(out: Path, resume: bool) -> dict[str, Any] | None:
    """Return the plan stored in the folder of a comparison; None in a new one.

    Raises:
        UsageError: the folder cannot be written, contains a comparison and ``resume`` was not given, or its plan is
            damaged.
    """
    check_writable(out / "clip.mp4")
    path = out / PLAN
    if not path.exists():
        if theirs := next((name for name in WRITTEN if os.path.lexists(out / name)), None):
            raise UsageError(
                f"{str(out / theirs)!r} already exists and does not belong to a comparison; name another folder"
            )
        return None
    if not resume:
        raise UsageError(
            f"{str(out)!r} already contains a comparison; use --resume to continue, or name another folder"
        )
    try:
        plan = json.loads(path.read_text("utf-8-sig"))
        if plan["schema_version"] == SCHEMA_VERSION and plan["seeds"]:
            return plan
    except (OSError, ValueError, KeyError, TypeError):
        pass
    raise UsageError(f"{str(path)!r} is damaged or of another version; name another folder")


def write_plan(plan: Plan, out: Path, kept: dict[str, Any] | None) -> None:
    """Write the plan into a new folder, or check that it equals the one stored there.

    Raises:
        UsageError: the folder contains another comparison.
    """
    asked = plan.as_json()
    if kept is None:
        with parts_in(out) as (part,):
            part.write_text(json.dumps(asked, indent=2) + "\n", "utf-8")
            if not claim(part, out / PLAN):
                raise UsageError(f"another comparison has just started in {str(out)!r}; name another folder")
        return
    for name, value in json.loads(json.dumps(asked)).items():
        if value != kept.get(name):
            raise UsageError(f"{str(out)!r} contains a comparison with other {name}; name another folder")


def read_prompts(path: Path | None) -> list[str]:
    """Return the prompts in a file, one per line; empty lines are skipped.

    Raises:
        UsageError: the file cannot be read or is empty.
    """
    if path is None:
        return []
    try:
        found = [line.strip() for line in path.read_text("utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text; save it as UTF-8"
        raise UsageError(f"cannot read the prompts in {str(path)!r}: {reason}") from error
    if not found:
        raise UsageError(f"{str(path)!r} contains no prompt; write one per line")
    return found


def _check_sides(sides: Sequence[Request]) -> None:
    seen: dict[Any, int] = {}
    for number, side in enumerate(sides, 1):
        plugins = [catalogue.parse(text) for text in side.plugins]
        check_together(plugins)
        what = json.dumps(side.model_dump(mode="json", exclude={"plugins"}), sort_keys=True)
        if (other := seen.setdefault((_plugins(side), what), number)) != number:
            raise UsageError(
                f"sides {other} and {number} are the same: {_plugins(side) or 'plain'}; change one of them"
            )


def _plugins(side: Request) -> str:
    """Plug-ins in their shortest form, sorted: their order has no effect."""
    return " + ".join(sorted(catalogue.text_of(catalogue.parse(text)) for text in side.plugins))


def _changes(side: Request, sides: Sequence[Request]) -> list[str]:
    """Fields and options in which the sides differ, with this side's values; the model's defaults are omitted."""
    fields = [name for name in Request.model_fields if name not in NOT_A_DIFFERENCE]
    found = {name: [getattr(other, name) for other in sides] for name in fields}
    options = dict.fromkeys(key for other in sides for key in other.options)
    found |= {key: [other.options.get(key) for other in sides] for key in options}
    index = next(number for number, other in enumerate(sides) if other is side)
    differing = {name: values[index] for name, values in found.items() if any(value != values[0] for value in values)}
    return [f"{name}={value}" for name, value in differing.items() if value is not None]


def _tiny_weights() -> dict[str, str]:
    """Hashes of the embedded model, which may be retrained within one version."""
    files = sorted(TINY_WEIGHTS.rglob("*.safetensors"))
    return {path.relative_to(TINY_WEIGHTS).as_posix(): sha256_of(path) for path in files}


def _text(prompt: Any) -> str:
    return prompt if isinstance(prompt, str) else json.dumps(prompt, ensure_ascii=False)
