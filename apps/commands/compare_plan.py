"""What a comparison makes: sides, prompts and seeds, checked before any work and kept in the folder."""

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
"""What a comparison writes beside its plan."""
SCHEMA_VERSION = 2
NOT_A_DIFFERENCE = ("prompt", "seed", "plugins", "options")
"""Fields that are not shown as one in the name of a side."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything that decides the videos of a comparison."""

    sides: tuple[Request, ...]
    """Their prompt and seed are those of the command line; :meth:`request` puts in those of a take."""
    prompts: tuple[Any, ...]
    """Texts, or lists of events."""
    seeds: tuple[int, ...]

    @property
    def names(self) -> list[str]:
        """What the sides are called: their plug-ins, and the other fields in which they differ."""
        return [", ".join([_plugins(side) or "plain", *_changes(side, self.sides)]) for side in self.sides]

    @property
    def folders(self) -> list[str]:
        """A folder's name for each side."""
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
        """What is asked for in one video."""
        prompt, seed = self.prompts[take // len(self.seeds)], self.seeds[take % len(self.seeds)]
        return self.sides[side].model_copy(update={"prompt": prompt, "seed": seed})

    def about(self, side: int) -> dict[str, Any]:
        """The request of a side without prompt and seed, in JSON values."""
        return self.sides[side].model_dump(mode="json", exclude_none=True, exclude={"prompt", "seed"})

    def as_json(self) -> dict[str, Any]:
        """The plan in JSON values, with what else decides the videos."""
        sides = [self.about(side) for side in range(len(self.sides))]
        return {
            "schema_version": SCHEMA_VERSION,
            "sides": sides,
            "prompts": list(self.prompts),
            "seeds": list(self.seeds),
            "versions": versions(),
            "weights": _tiny_weights() if self.sides[0].model == "tiny" else None,
        }


def planned(sides: Sequence[Request], prompts: Sequence[Any], seeds: int, kept: dict[str, Any] | None) -> Plan:
    """Check and complete what was asked for.

    Args:
        sides: two requests or more, the first is what the others are held against.
        prompts: what to make besides the prompt of the sides.
        seeds: how many, counted up from that of the sides.
        kept: the plan that lies in the folder, which says the seed if none was given; None if there is none.

    Raises:
        UsageError: two sides are the same, plug-ins cannot be used, a prompt stands twice, or ``seeds`` is below 1.
    """
    if seeds < 1:
        raise UsageError(f"--seeds {seeds} must be at least 1")
    _check_sides(sides)
    every = (sides[0].prompt, *prompts)
    for side in sides:
        for prompt in every:
            check_request(side.model_copy(update={"prompt": prompt}))
    if twice := next((prompt for index, prompt in enumerate(every) if prompt in every[:index]), None):
        raise UsageError(f"the prompt {_text(twice)!r} stands twice; a video more of it takes another seed")
    first = sides[0].seed if sides[0].seed is not None or kept is None else kept["seeds"][0]
    begin = draw_seed(first)
    draw_seed(begin + seeds - 1)  # the last one counts too
    return Plan(sides=tuple(sides), prompts=every, seeds=tuple(range(begin, begin + seeds)))


def folder_for(out: Path | None, resume: bool) -> Path:
    """``out``, or a folder in ``outputs/`` that does not exist yet.

    Raises:
        UsageError: ``resume`` was given without the folder to go on with.
    """
    if out is not None:
        return out
    if resume:
        raise UsageError("--resume goes on with a comparison; name its folder with --out")
    names = (FOLDER / f"comparison-{date.today():%Y-%m-%d}{'' if number == 1 else f'-{number}'}" for number in count(1))
    return next(name for name in names if not name.exists())


def claimed(out: Path) -> Path:
    """Make ``out``, a new folder in ``outputs/``; where another comparison made it meanwhile, the next one."""
    while True:
        try:
            out.mkdir(parents=True)
            return out
        except FileExistsError:
            out = folder_for(None, False)


def opened(out: Path, resume: bool) -> dict[str, Any] | None:
    """The plan that lies in the folder of a comparison; None in a new one.

    Raises:
        UsageError: nothing can be written there, it holds a comparison and ``resume`` was not given, or its plan is
            damaged.
    """
    check_writable(out / "clip.mp4")
    path = out / PLAN
    if not path.exists():
        if theirs := next((name for name in WRITTEN if os.path.lexists(out / name)), None):
            raise UsageError(
                f"{str(out / theirs)!r} is there already and belongs to no comparison; name another folder"
            )
        return None
    if not resume:
        raise UsageError(f"{str(out)!r} holds a comparison already; go on with it by --resume, or name another folder")
    try:
        plan = json.loads(path.read_text("utf-8-sig"))
        if plan["schema_version"] == SCHEMA_VERSION and plan["seeds"]:
            return plan
    except (OSError, ValueError, KeyError, TypeError):
        pass
    raise UsageError(f"{str(path)!r} is damaged or of another version; name another folder")


def keep(plan: Plan, out: Path, kept: dict[str, Any] | None) -> None:
    """Write the plan into a new folder, or make sure that it is the one that lies there.

    Raises:
        UsageError: the folder holds another comparison.
    """
    asked = plan.as_json()
    if kept is None:
        with parts_in(out) as (part,):
            part.write_text(json.dumps(asked, indent=2) + "\n", "utf-8")
            if not claim(part, out / PLAN):
                raise UsageError(f"another comparison has begun in {str(out)!r} meanwhile; name another folder")
        return
    for name, value in json.loads(json.dumps(asked)).items():
        if value != kept.get(name):
            raise UsageError(f"{str(out)!r} holds a comparison with other {name}; name another folder")


def prompts_of(path: Path | None) -> list[str]:
    """The prompts in a file, one a line; empty lines do not count.

    Raises:
        UsageError: the file cannot be read or holds none.
    """
    if path is None:
        return []
    try:
        found = [line.strip() for line in path.read_text("utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text; save it as UTF-8"
        raise UsageError(f"cannot read the prompts in {str(path)!r}: {reason}") from error
    if not found:
        raise UsageError(f"{str(path)!r} holds no prompt; write one a line")
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
    """The plug-ins in their shortest form, in a fixed order, which has no effect."""
    return " + ".join(sorted(catalogue.text_of(catalogue.parse(text)) for text in side.plugins))


def _changes(side: Request, sides: Sequence[Request]) -> list[str]:
    """The fields and options in which not all sides agree, as this side has them; the model's defaults go unsaid."""
    fields = [name for name in Request.model_fields if name not in NOT_A_DIFFERENCE]
    found = {name: [getattr(other, name) for other in sides] for name in fields}
    options = dict.fromkeys(key for other in sides for key in other.options)
    found |= {key: [other.options.get(key) for other in sides] for key in options}
    index = next(number for number, other in enumerate(sides) if other is side)
    differing = {name: values[index] for name, values in found.items() if any(value != values[0] for value in values)}
    return [f"{name}={value}" for name, value in differing.items() if value is not None]


def _tiny_weights() -> dict[str, str]:
    """Hashes of the embedded model, which may be trained again within one version."""
    files = sorted(TINY_WEIGHTS.rglob("*.safetensors"))
    return {path.relative_to(TINY_WEIGHTS).as_posix(): sha256_of(path) for path in files}


def _text(prompt: Any) -> str:
    return prompt if isinstance(prompt, str) else json.dumps(prompt, ensure_ascii=False)
