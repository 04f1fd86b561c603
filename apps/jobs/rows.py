"""Jobs as they stand in the store: the table, and what is made of a row that cannot be read."""

import json
import re
import sqlite3
import typing
from dataclasses import dataclass, fields
from typing import Any, Literal

from genkit.request import Request

Status = Literal["queued", "running", "done", "failed", "cancelled", "interrupted"]
DAMAGED = (
    "the entry of this job cannot be read: it is damaged, or was written by a later version of genkit; "
    "update genkit, or make the video again"
)
TABLE = """
CREATE TABLE IF NOT EXISTS jobs (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    status TEXT NOT NULL DEFAULT 'queued',
    request TEXT NOT NULL,
    created REAL NOT NULL,
    changed REAL NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    cancel INTEGER NOT NULL DEFAULT 0,
    stage TEXT NOT NULL DEFAULT '',
    step INTEGER NOT NULL DEFAULT 0,
    total INTEGER NOT NULL DEFAULT 0,
    time_left REAL NOT NULL DEFAULT 0,
    note TEXT NOT NULL DEFAULT '',
    error TEXT NOT NULL DEFAULT '',
    receipt TEXT NOT NULL DEFAULT '',
    owner TEXT NOT NULL DEFAULT ''
)
"""
ID = re.compile("[0-9a-f]{12}|[0-9a-f]{32}")
"""Names of jobs; the shorter ones are from before."""
OWNER = "ALTER TABLE jobs ADD COLUMN owner TEXT NOT NULL DEFAULT ''"
"""What version 1 of the table lacks."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """One job as it was when it was read."""

    number: int
    """Order of arrival, from 1."""
    id: str
    """What names the job and its files: 32 hexadecimal digits, drawn by the store, that nobody can guess."""
    status: Status
    request: Request
    """What was asked for; once the job is done, what would make the same video again (with the seed drawn)."""
    created: float
    """When it was submitted, in seconds since 1970."""
    changed: float
    """When its status changed last."""
    attempts: int
    """How often it was begun and not put back."""
    cancel: bool
    """Whether a running job was asked to stop."""
    stage: str
    """``load``, ``encode``, ``denoise``, ``decode`` or ``save``; empty before."""
    step: int
    total: int
    """Solver steps; 0 while they are not known."""
    time_left: float
    """Seconds that the remaining steps will take."""
    note: str
    """What else is to be known, as a sentence; else empty."""
    error: str
    """Why there is no video, as a sentence; else empty."""
    receipt: str
    """The receipt as a text table; empty until the job is done."""
    owner: str = ""
    """The account that submitted it; empty where no password is asked for."""
    damaged: bool = False
    """Whether its row could not be read, so that the request is none that anyone made."""

    @property
    def over(self) -> bool:
        """Whether nothing more will happen to this job."""
        return self.status not in ("queued", "running")


COLUMNS = {field.name: field.type for field in fields(Job) if field.name not in ("request", "damaged")}


def job_of(row: sqlite3.Row) -> Job:
    """The job in a row; one that is damaged where the row cannot be read, never an error."""
    values = {name: row[name] for name in row.keys() if name in COLUMNS}  # noqa: SIM118 - a row iterates over values
    try:
        request = Request.model_validate_json(row["request"])
        job = Job(**values | {"request": request, "cancel": bool(values["cancel"])})
    except (ValueError, TypeError, KeyError, IndexError):
        return _damaged(values)
    return job if _well_typed(values) else _damaged(values)


def _well_typed(values: dict[str, Any]) -> bool:
    texts = ("id", "stage", "note", "error", "receipt", "owner")
    numbers = ("number", "created", "changed", "attempts", "step", "total", "time_left")
    return (
        values["status"] in typing.get_args(Status)
        and ID.fullmatch(str(values["id"])) is not None  # it becomes part of a path
        and all(isinstance(values[name], str) for name in texts)
        and all(isinstance(values[name], (int, float)) for name in numbers)
    )


def _damaged(values: dict[str, Any]) -> Job:
    """What can be told of a row: its name and times, and whether there is a video."""

    def number(name: str) -> float:
        return values[name] if isinstance(values.get(name), (int, float)) else 0

    done, name = values.get("status") == "done", str(values.get("id"))
    return Job(
        number=int(number("number")), id=name if ID.fullmatch(name) else "", status="done" if done else "failed",
        request=Request(prompt="(cannot be read)"), created=number("created"), changed=number("changed"), attempts=0,
        cancel=False, stage="", step=0, total=0, time_left=0.0, note=DAMAGED if done else "",
        error="" if done else DAMAGED, receipt="", owner=str(values.get("owner") or ""), damaged=True,
    )  # fmt: skip


def stored(request: Request) -> str:
    """A request as it stands in a row."""
    return request.model_dump_json(exclude_unset=True)


def stored_recipe(request: dict[str, Any]) -> str:
    """The request in a finished video as it stands in a row."""
    return json.dumps(request)
