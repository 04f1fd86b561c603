"""The job store, the worker and its keeper: every way in which a job can end, and that nothing half-made is left."""

import ast
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tree import TOP

from genkit.apps.jobs import store as jobs
from genkit.apps.jobs.keeper import Keeper
from genkit.apps.jobs.store import ATTEMPTS, Job, Store
from genkit.apps.jobs.worker import Models, make, work
from genkit.apps.page import html
from genkit.errors import UsageError
from genkit.generation.events import Progress
from genkit.request import Request
from genkit.video.video import Video, read_request

STEPS = 5
FAKE = """
import os, sys, time
from pathlib import Path
import numpy as np
from genkit.apps.jobs.store import Store
from genkit.apps.jobs.worker import end_with_input, work
from genkit.generation.events import Progress
from genkit.video.video import Video

def maker(request, on_event, models):
    for step in range(1, 4):
        on_event(Progress(step=step, total=3, seconds=step, left=3 - step))
        if request.prompt == "die once" and not Path("died").exists():
            Path("died").touch()
            os.kill(os.getpid(), 9)
        if request.prompt == "die":
            os.kill(os.getpid(), 9)
        while request.prompt == "wait":
            time.sleep(0.05)
            on_event(Progress(step=step, total=3, seconds=step, left=3 - step))
    return Video(np.zeros((2, 16, 16, 3), np.uint8), 8.0, request.model_dump(mode="json", exclude_none=True))

end_with_input()
work(Store(Path(sys.argv[1])), maker)
"""
"""A worker process with a maker that needs no model, and that can be made to die or to wait."""


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "out")


def clip(request: Request) -> Video:
    asked = request.model_dump(mode="json", exclude_none=True) | {"seed": 42}
    return Video(np.full((3, 16, 16, 3), 90, np.uint8), 8.0, asked)


def steady(request: Request, on_event: Callable[[Progress], None], models: Models) -> Video:
    for step in range(1, STEPS + 1):
        on_event(Progress(step=step, total=STEPS, seconds=step, left=2.0 * (STEPS - step)))
    return clip(request)


def files(store: Store) -> list[str]:
    """What a page can show: everything that is not hidden."""
    return sorted(path.name for path in store.folder.iterdir() if not path.name.startswith("."))


def until(condition: Callable[[], Any], seconds: float = 240) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.05)


def test_a_job_from_submission_to_file(store: Store) -> None:
    job = store.submit(Request(prompt="../../a <b> 'c'; rm -rf"))
    assert (job.status, job.number, store.ahead(job)) == ("queued", 1, 0)
    seen: list[Job] = []

    def maker(request: Request, on_event: Callable[[Progress], None], models: Models) -> Video:
        on_event(Progress(step=2, total=5, seconds=1, left=3.5))
        seen.append(store.job(job.id))
        assert files(store) == [], "something is shown before it is finished"
        return clip(request)

    work(store, maker, once=True)
    during, after = seen[0], store.job(job.id)
    assert (during.status, during.stage, during.step, during.total, during.time_left) == (
        "running",
        "denoise",
        2,
        5,
        3.5,
    )
    assert (after.status, after.error, after.attempts, after.over) == ("done", "", 1, True)
    assert after.request.seed == 42, "the seed that was drawn is not kept"
    film = store.video(after)
    assert read_request(film)["prompt"] == job.request.prompt
    assert files(store) == sorted([film.name, film.name + ".json", store.poster(after).name])
    assert film.name.endswith(f"-{job.id}.mp4") and film.parent == store.folder
    assert not (store.state / "making").exists()


def test_what_will_not_run_as_asked_stands_beside_a_running_job(store: Store) -> None:
    seen: list[str] = []

    def maker(request: Request, on_event: Callable[[Progress], None], models: Models) -> Video:
        for note in ("radial: every call is dense", "a bar was read as text"):
            on_event(Progress(step=0, total=0, seconds=0, left=0, stage="encode", notes=(note,)))
        seen.append(html.status(store.job(job.id)))
        return steady(request, on_event, models)

    job = store.submit(Request(prompt="a"))
    work(store, maker, once=True)
    assert "Radial: every call is dense; a bar was read as text" in seen[0]


def test_jobs_are_done_in_the_order_of_arrival(store: Store) -> None:
    names = [store.submit(Request(prompt=text)).id for text in "abc"]
    assert [store.ahead(store.job(name)) for name in names] == [0, 1, 2]
    done: list[str] = []

    def maker(request: Request, on_event: Any, models: Models) -> Video:
        done.append(str(request.prompt))
        return clip(request)

    work(store, maker, once=True)
    assert done == ["a", "b", "c"]
    assert [job.id for job in store.jobs("done")] == names[::-1]
    assert [job.id for job in store.jobs(limit=1)] == names[2:]


def test_a_crash_ends_its_job_and_nothing_else(store: Store, capfd: pytest.CaptureFixture[str]) -> None:
    refused, crashed, fine = (store.submit(Request(prompt=text)) for text in ("refused", "crashed", "fine"))

    def maker(request: Request, on_event: Any, models: Models) -> Video:
        if request.prompt == "refused":
            raise UsageError("num_frames=18 is wrong")
        if request.prompt == "crashed":
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        return clip(request)

    work(store, maker, once=True)
    assert [store.job(job.id).status for job in (refused, crashed, fine)] == ["failed", "failed", "done"]
    assert store.job(refused.id).error == "num_frames=18 is wrong"
    assert store.job(crashed.id).error == "RuntimeError: CUDA error: an illegal memory access was encountered"
    assert "Traceback" in capfd.readouterr().err, "the log does not tell where"
    assert len(files(store)) == 3, "a failed job left a file"


def test_cancel_while_waiting_and_within_a_step(store: Store) -> None:
    running, waiting = (store.submit(Request(prompt=text)) for text in "ab")
    steps: list[int] = []

    def maker(request: Request, on_event: Callable[[Progress], None], models: Models) -> Video:
        for step in range(1, STEPS + 1):
            steps.append(step)
            if step == 2:
                store.cancel(running.id)
                store.cancel(waiting.id)
            on_event(Progress(step=step, total=STEPS, seconds=1, left=1))
        return clip(request)

    work(store, maker, once=True)
    assert steps == [1, 2], "it went on after the step in which it was cancelled"
    assert [store.job(job.id).status for job in (running, waiting)] == ["cancelled", "cancelled"]
    assert files(store) == []
    again = store.submit(Request(prompt="c"))
    work(store, steady, once=True)
    store.cancel(again.id)
    assert store.job(again.id).status == "done", "a job that is over was changed"


def test_a_cancel_after_the_last_step_still_counts(store: Store) -> None:
    job = store.submit(Request(prompt="a"))

    def maker(request: Request, on_event: Callable[[Progress], None], models: Models) -> Video:
        on_event(Progress(step=1, total=1, seconds=1, left=0))
        store.cancel(job.id)
        return clip(request)

    work(store, maker, once=True)
    assert store.job(job.id).status == "cancelled" and files(store) == []


def test_a_job_that_cannot_be_written_fails_with_the_reason(store: Store) -> None:
    job = store.submit(Request(prompt="a"))

    def maker(request: Request, on_event: Any, models: Models) -> Video:
        store.video(job).mkdir()  # where the file would go
        return clip(request)

    work(store, maker, once=True)
    assert store.job(job.id).status == "failed" and store.job(job.id).error
    assert store.job(job.id).status not in [found.status for found in store.jobs("done")]


def test_reclaim_begins_again_once_and_then_gives_up(store: Store) -> None:
    job, asked = store.submit(Request(prompt="a")), store.submit(Request(prompt="b"))
    for attempt in range(1, ATTEMPTS + 1):
        claimed = store.claim()
        assert claimed is not None and (claimed.id, claimed.attempts) == (job.id, attempt)
        store.reclaim()
    assert (store.job(job.id).status, store.job(job.id).error) == ("interrupted", jobs.GAVE_UP)
    claimed = store.claim()
    assert claimed is not None and claimed.id == asked.id
    store.cancel(asked.id)
    store.reclaim()
    assert store.job(asked.id).status == "cancelled", "a job that was to stop began again"
    store.finish(claimed, {"prompt": "b"}, "")
    assert store.job(asked.id).status == "cancelled", "a worker that was given up changed the job"
    assert store.claim() is None


def test_a_worker_that_starts_clears_away_what_another_left(store: Store) -> None:
    making = store.state / "making"
    making.mkdir()
    (making / "half.mp4").write_bytes(b"half")
    job = store.submit(Request(prompt="a"))
    assert store.claim() is not None
    work(store, steady, once=True)
    assert (store.job(job.id).status, store.job(job.id).note) == ("done", jobs.AGAIN)
    assert not making.exists()


def test_two_workers_never_work_at_the_same_time(store: Store) -> None:
    store.submit(Request(prompt="a"))
    begun, go_on = threading.Event(), threading.Event()

    def slow(request: Request, on_event: Any, models: Models) -> Video:
        begun.set()
        assert go_on.wait(60)
        return clip(request)

    first = threading.Thread(target=work, args=(store, slow), kwargs={"once": True})
    first.start()
    assert begun.wait(60)
    second = threading.Thread(target=work, args=(store, steady), kwargs={"once": True})
    second.start()
    time.sleep(0.5)
    running = store.jobs("running")
    go_on.set()
    first.join()
    second.join()
    assert len(running) == 1 and running[0].attempts == 1 and second.ident, "the second took the job of the first"
    assert store.jobs()[0].status == "done"


def test_the_queue_is_bounded(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "MAX_WAITING", 2)
    first = store.submit(Request(prompt="a"))
    store.submit(Request(prompt="b"))
    with pytest.raises(UsageError, match="2 jobs are waiting, which is the limit; cancel one"):
        store.submit(Request(prompt="c"))
    store.cancel(first.id)
    store.submit(Request(prompt="c"))


def test_accounts_take_turns_and_none_fills_the_queue_of_another(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "MAX_WAITING", 3)
    for text in ("a1", "a2", "a3"):
        store.submit(Request(prompt=text), owner="ann")
    with pytest.raises(UsageError, match="3 jobs are waiting"):
        store.submit(Request(prompt="a4"), owner="ann")
    for owner in ("bob", "cy"):
        for number in (1, 2):
            store.submit(Request(prompt=f"{owner[0]}{number}"), owner=owner)
    order = ["a1", "b1", "c1", "a2", "b2", "c2", "a3"]
    waiting = {str(job.request.prompt): store.ahead(job) for job in store.jobs()}
    assert sorted(waiting, key=waiting.__getitem__) == order and sorted(waiting.values()) == list(range(7))
    seen: list[str] = []

    def maker(request: Request, on_event: Any, models: Models) -> Video:
        seen.append(str(request.prompt))
        return clip(request)

    for _ in range(3):
        job = store.claim()
        assert job is not None
        seen.append(str(job.request.prompt))
        store.fail(job, "for the test")
    store.submit(Request(prompt="d1"), owner="dee")  # who had none yet, is next
    work(store, maker, once=True)
    assert seen == [*order[:3], "d1", *order[3:]]


def test_what_cannot_be_a_store(store: Store, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no job 'x'"):
        store.job("x")
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="cannot keep jobs in .*file"):
        Store(tmp_path / "file")
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / ".page").symlink_to(tmp_path)
    with pytest.raises(UsageError, match="cannot keep jobs in .*linked.*'.page' in it is a link"):
        Store(tmp_path / "linked")
    with store._transaction() as db:
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(UsageError, match="schema version 99, but this installation reads version 2; update genkit"):
        Store(store.folder)


def test_a_job_that_cannot_be_opens_no_model(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Opening one may take minutes, and would close the one of the job before."""
    monkeypatch.setattr("genkit.loading.load", lambda **how: pytest.fail("the model was opened"))
    for request in (Request(prompt=" "), Request(prompt="a", plugins=("radial", "svg")), Request(prompt="a", fps=0)):
        with pytest.raises(UsageError, match="say in words|cannot be combined|fps=0"):
            make(request, lambda event: None, Models())


def test_a_model_stays_open_for_the_next_job(monkeypatch: pytest.MonkeyPatch) -> None:
    import genkit.loading

    opened: list[dict[str, Any]] = []

    def load(**how: Any) -> object:
        opened.append(how)
        return object()

    monkeypatch.setattr(genkit.loading, "load", load)
    models = Models()
    first = models.pipe(Request(prompt="a"))
    assert models.pipe(Request(prompt="b", seed=3)) is first
    assert models.pipe(Request(prompt="b", dtype="float16")) is not first
    models.forget()
    models.pipe(Request(prompt="b", dtype="float16"))
    assert [how["dtype"] for how in opened] == [None, "float16", "float16"]


@pytest.fixture
def keeper(store: Store) -> Any:
    with Keeper(store, [sys.executable, "-c", FAKE, str(store.folder)]) as keeper:
        yield keeper


def test_a_worker_that_is_killed(store: Store, keeper: Keeper) -> None:
    """It dies in every run of the first job, in one run of the second, and a person kills it in the third."""
    hopeless, unlucky, waiting, last = (
        store.submit(Request(prompt=text)) for text in ("die", "die once", "wait", "calm")
    )
    until(lambda: store.job(hopeless.id).over)
    assert store.job(hopeless.id).status == "interrupted" and store.job(hopeless.id).attempts == ATTEMPTS
    until(lambda: store.job(waiting.id).step)
    assert store.job(unlucky.id).status == "done" and store.job(unlucky.id).attempts == 2
    assert keeper.process is not None and keeper.alive
    os.kill(keeper.process.pid, signal.SIGKILL)
    until(lambda: store.job(waiting.id).attempts == 2)
    assert store.job(waiting.id).note == jobs.AGAIN
    store.cancel(waiting.id)
    until(lambda: store.job(last.id).over)
    assert [store.job(job.id).status for job in (waiting, last)] == ["cancelled", "done"]
    assert len(files(store)) == 2 * 3, "a killed job left a file"


def test_the_worker_ends_with_the_process_that_started_it(store: Store) -> None:
    """Also when that process has no time to say good-bye."""
    job = store.submit(Request(prompt="wait"))
    parent = (
        "import subprocess, sys, time\n"
        f"child = subprocess.Popen([sys.executable, '-c', {FAKE!r}, {str(store.folder)!r}], stdin=subprocess.PIPE)\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        until(lambda: store.job(job.id).step)
        process.kill()
    until(lambda: not _runs(child))


def _runs(pid: int) -> bool:
    """Whether a process is more than a dead entry in the table."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("path", [None, os.pathsep, "."])
def test_the_worker_imports_nothing_from_a_folder_of_data(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str | None
) -> None:
    """A folder of videos may come from anyone, and with it modules that are called like those that we import."""
    planted, names = tmp_path / "planted", ("shutil", "sqlite3", "torch", "sitecustomize", "genkit", "numpy", "signal")
    for folder in (store.state, store.folder):
        for name in names:
            (folder / f"{name}.py").write_text(f"open({str(planted)!r}, 'a').write({name!r})\nraise SystemExit")
    if path is not None:
        monkeypatch.setenv("PYTHONPATH", path)
    monkeypatch.chdir(store.state)
    job = store.submit(Request(prompt="a", model=str(tmp_path)))
    with Keeper(store) as keeper:
        until(lambda: store.job(job.id).over or planted.exists())
        assert keeper.alive
    assert not planted.exists() and "does not offer" in store.job(job.id).error


def test_no_process_is_started_that_imports_from_where_it_stands() -> None:
    """Python is started with -I, or with what takes its folder off the path."""
    root, found = TOP, 0
    for place in ("apps", "attention", "benchmarks", "genkit", "schedulers"):
        for file in (root / place).rglob("*.py"):
            for line in (node for node in ast.walk(ast.parse(file.read_text("utf-8"))) if isinstance(node, ast.List)):
                words = [ast.unparse(word) for word in line.elts]
                if words and words[0] in ("sys.executable", "python"):
                    found += 1
                    assert "'-I'" in words or "WORKER" in words, f"{file}: {words}"
    assert found >= 3, "the test does not see how processes are started"


def test_the_table_of_jobs_is_the_one_that_earlier_releases_wrote(store: Store) -> None:
    """Columns follow from `Job`; a change to it must not change a table that older versions read."""
    texts = dict.fromkeys(("stage", "note", "error", "receipt", "owner"), ("TEXT", "''"))
    counts = dict.fromkeys(("attempts", "cancel", "step", "total"), ("INTEGER", "0"))
    given = {"id": ("TEXT", None), "request": ("TEXT", None), "created": ("REAL", None), "changed": ("REAL", None)}
    wanted = texts | counts | given | {"status": ("TEXT", "'queued'"), "time_left": ("REAL", "0")}
    db = sqlite3.connect(store.state / "jobs.sqlite")
    (_, first, kind, _, _, key), *rows = db.execute("PRAGMA table_info(jobs)").fetchall()
    assert (first, kind, key) == ("number", "INTEGER", 1)
    assert {name: (kind, default) for _, name, kind, required, default, _ in rows if required} == wanted
    db.close()
