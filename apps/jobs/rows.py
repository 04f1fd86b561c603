"""Jobs as rows of the store: the table, and what becomes of a row that cannot be read."""

import json
import re
import sqlite3
import typing
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from genkit.request import Request

Status = Literal["queued", "running", "done", "failed", "cancelled", "interrupted"]
DAMAGED = (
    "the entry of this job cannot be read: it is damaged, or was written by a later version of genkit; "
    "update genkit, or make the video again"
)
ID = re.compile("[0-9a-f]{12}|[0-9a-f]{32}")
"""Names of jobs; the shorter ones are of earlier versions."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """A snapshot of one job."""

    number: int
    """Order of submission, from 1."""
    id: str
    """Name of the job and its files: 32 random hexadecimal digits, which nobody can guess."""
    status: Status
    request: Request
    """The request; once the job is done, the one that remakes the same video (with the seed drawn)."""
    created: float
    """Time of submission, in seconds since 1970."""
    changed: float
    """Time of the last change of status."""
    attempts: int
    """Number of starts that were not put back."""
    cancel: bool
    """True if a running job was asked to stop."""
    stage: str
    """``load``, ``encode``, ``denoise``, ``decode`` or ``save``; empty before."""
    step: int
    total: int
    """Solver steps; 0 while unknown."""
    time_left: float
    """Seconds that the remaining steps will take."""
    note: str
    """Further information, as a sentence; else empty."""
    error: str
    """Reason there is no video, as a sentence; else empty."""
    receipt: str
    """The receipt as a text table; empty until the job is done."""
    owner: str = ""
    """The account that submitted it; empty if no password is required."""
    damaged: bool = False
    """True if the row could not be read, so that the request is a placeholder."""

    @property
    def over(self) -> bool:
        """True if the job has ended."""
        return self.status not in ("queued", "running")


COLUMNS: dict[str, Any] = {field.name: field.type for field in fields(Job) if field.name != "damaged"}
"""Columns of the table, in its order, with the types of their values."""
TYPES: dict[Any, str] = {
    int: "INTEGER NOT NULL DEFAULT 0",
    bool: "INTEGER NOT NULL DEFAULT 0",
    float: "REAL NOT NULL DEFAULT 0",
    str: "TEXT NOT NULL DEFAULT ''",
}
"""Definition of a column, by the type of its values."""
SPECIAL = {
    "number": "INTEGER PRIMARY KEY AUTOINCREMENT",
    "id": "TEXT NOT NULL UNIQUE",
    "status": "TEXT NOT NULL DEFAULT 'queued'",
    "request": "TEXT NOT NULL",
    "created": "REAL NOT NULL",
    "changed": "REAL NOT NULL",
}
"""Columns with another definition, such as those without a default."""
_DEFINITIONS = {name: SPECIAL[name] if name in SPECIAL else TYPES[kind] for name, kind in COLUMNS.items()}
TABLE = f"CREATE TABLE IF NOT EXISTS jobs ({', '.join(map(' '.join, _DEFINITIONS.items()))})"
OWNER = f"ALTER TABLE jobs ADD COLUMN owner {_DEFINITIONS['owner']}"
"""Upgrade of a table of version 1."""


@dataclass(frozen=True, kw_only=True)
class NewJob:
    """A job as it enters the store; its fields are named as its columns."""

    id: str
    owner: str
    created: float
    request: str
    """JSON."""
    status: Status = "queued"
    receipt: str = ""
    note: str = ""


def insert(db: sqlite3.Connection, job: NewJob, changed: float) -> None:
    """Append a row for ``job``; ``changed`` is in seconds since 1970."""
    values = asdict(job) | {"changed": changed}
    places = ", ".join("?" * len(values))
    db.execute(f"INSERT INTO jobs ({', '.join(values)}) VALUES ({places})", tuple(values.values()))


def job_of(row: sqlite3.Row) -> Job:
    """Return the job in a row; a damaged one if the row cannot be read, never an error."""
    values = {name: row[name] for name in row.keys() if name in COLUMNS}  # noqa: SIM118 - a row iterates over values
    try:
        request = Request.model_validate_json(row["request"])
        job = Job(**values | {"request": request, "cancel": bool(values["cancel"])})
    except (ValueError, TypeError, KeyError, IndexError):
        return _damaged(values)
    return job if _well_typed(values) else _damaged(values)


def _well_typed(values: dict[str, Any]) -> bool:
    return (
        values["status"] in typing.get_args(Status)
        and ID.fullmatch(str(values["id"])) is not None  # it becomes part of a path
        and all(isinstance(values[name], str) for name, kind in COLUMNS.items() if kind is str)
        and all(isinstance(values[name], (int, float)) for name, kind in COLUMNS.items() if kind in (int, float))
    )


def _damaged(values: dict[str, Any]) -> Job:
    """Job with what can be read of a row: its name and times, and if there is a video."""
    blank = {name: kind() for name, kind in COLUMNS.items() if kind in TYPES}
    done, name = values.get("status") == "done", str(values.get("id"))
    known: dict[str, Any] = {
        key: values[key] for key in ("number", "created", "changed") if isinstance(values.get(key), (int, float))
    }
    known |= {"id": name if ID.fullmatch(name) else "", "owner": str(values.get("owner") or "")}
    known |= {"status": "done", "note": DAMAGED} if done else {"status": "failed", "error": DAMAGED}
    return Job(**blank | known, request=Request(prompt="(cannot be read)"), damaged=True)


def dump_request(request: Request) -> str:
    """Return a request as stored in a row."""
    return request.model_dump_json(exclude_unset=True)


def dump_recipe(request: dict[str, Any]) -> str:
    """Return the request in a finished video as stored in a row."""
    return json.dumps(request)
