"""The page: a form, the job that is watched, and a gallery of what was made. It only reads and writes the job store."""

from collections.abc import Callable
from typing import Any

import gradio as gr

from genkit.apps import page_form, page_models
from genkit.apps.jobs import Store
from genkit.apps.page_fields import Form, laid_out
from genkit.apps.page_look import View, request_of_file
from genkit.errors import GenkitError, UsageError

TICK = 0.7
"""Seconds between two looks at the store."""
CSS = """
p.wrong { color: #b3261e; margin: 0; } .dark p.wrong { color: #ff8a80; }
p.hint { opacity: 0.75; margin: 0; font-size: 0.9em; }
p.state { font-weight: 600; margin: 0; } #status progress { width: 100%; }
#receipt textarea { font-family: ui-monospace, monospace; font-size: 0.8em; white-space: pre; overflow-x: auto; }
"""
QUIET: dict[str, Any] = {"queue": False, "show_progress": "hidden"}
"""For every event: each only looks at the store and is over at once."""


def build(store: Store, worker_lives: Callable[[], bool] = lambda: True) -> gr.Blocks:
    """The page of a job store.

    ``worker_lives`` tells whether there is a process that does the jobs.
    """
    view = View(store, worker_lives)
    with gr.Blocks(title="genkit", analytics_enabled=False, delete_cache=(3600, 86400)) as page:
        gr.Markdown("# genkit\nText to video: faster, longer and directable, without training.", elem_id="head")
        with gr.Row():
            with gr.Column(scale=1):
                form = laid_out()
                make = gr.Button("Make a video", variant="primary", elem_id="make")
            with gr.Column(scale=1):
                watched = _watched()
        gallery = gr.Gallery(label="Videos", elem_id="gallery", columns=4, allow_preview=False, interactive=False)
        job, seen, listed = gr.State(""), gr.State({}), gr.State([])
        shown = [watched["status"], watched["cancel"], watched["player"], watched["receipt"], gallery, listed, seen]
        look: dict[str, Any] = {"fn": view.look, "inputs": [job, seen], "outputs": shown, **QUIET}
        now = look | {"api_visibility": "private"}
        _form_events(form)
        submit = _submit(store, form)
        begun = make.click(submit, [*form.fields.values()], [*form.messages.values(), job], api_name="make", **QUIET)
        begun.then(**now)
        watched["rerun"].click(view.rerun, job, [job, watched["said"]], api_name="rerun", **QUIET).then(**now)
        watched["cancel"].click(view.cancel, job, None, api_name="cancel", **QUIET).then(**now)
        gallery.select(_chosen, listed, job, api_visibility="private", **QUIET).then(**now)
        loaded = [*form.fields.values(), watched["said"]]
        load, load_file = _loader(form, view.request), _loader(form, request_of_file)
        watched["load"].click(load, job, loaded, api_name="load_settings", **QUIET)
        watched["upload"].upload(load_file, watched["upload"], loaded, api_name="load_file", **QUIET)
        page.load(view.newest, None, job, api_name="newest", **QUIET).then(**now)
        gr.Timer(TICK).tick(**look, api_name="status")
    return page


def _watched() -> dict[str, Any]:
    found = {"status": gr.HTML("", elem_id="status", padding=False)}
    with gr.Row():
        found["cancel"] = gr.Button("Cancel", interactive=False, elem_id="cancel")
        found["rerun"] = gr.Button("Make it again", elem_id="rerun")
        found["load"] = gr.Button("Load its settings", elem_id="load-settings")
        found["upload"] = gr.UploadButton("Load settings from a file", file_types=[".mp4"], elem_id="load-file")
    found["said"] = gr.HTML("", elem_id="settings-message", padding=False)
    found["player"] = gr.Video(label="Video", autoplay=True, loop=True, interactive=False, elem_id="player")
    found["receipt"] = gr.Textbox(label="Receipt", lines=12, interactive=False, elem_id="receipt")
    return found


def _form_events(form: Form) -> None:
    """Say at once what is wrong, and tick the timeline for a prompt that becomes one."""

    def check(*given: Any) -> list[str]:
        return form.said(page_form.check(form.values(given)))

    inputs, outputs = [*form.fields.values()], [*form.messages.values()]
    gr.on(
        [component.change for component in inputs], check, inputs, outputs, api_name="check",
        trigger_mode="always_last", **QUIET,
    )  # fmt: skip
    if "timeline" in form.fields:
        tick, had = form.fields["timeline"], gr.State(False)
        prompt = form.fields["prompt"]
        prompt.input(_parted, [prompt, had], [tick, had], api_visibility="private", **QUIET)
    form.fields["model"].input(
        lambda model: page_models.card_of(model).native_frames,
        form.fields["model"], form.fields["num_frames"], api_visibility="private", **QUIET,
    )  # fmt: skip


def _parted(prompt: str, had: bool) -> tuple[Any, bool]:
    """Tick the timeline when the first ``|`` is typed, and never against a person who took the tick out again."""
    has = "|" in (prompt or "")
    return (True if has and not had else gr.skip()), has


def _submit(store: Store, form: Form) -> Callable[..., list[Any]]:
    def submit(*given: Any) -> list[Any]:
        """Put a job into the queue, or say what is wrong."""
        checked = page_form.check(form.values(given))
        name: Any = gr.skip()
        if checked.request is not None:
            try:
                name = store.submit(checked.request).id
            except UsageError as error:
                checked.wrong["plugins"] = str(error)
        return [*form.said(checked), name]

    return submit


def _loader(form: Form, read: Callable[[Any], dict[str, Any]]) -> Callable[[Any], list[Any]]:
    def load(source: Any) -> list[Any]:
        """Fill the form in with the settings of a video."""
        try:
            request = read(source)
        except GenkitError as error:
            return form.filled({}, str(error))
        return form.filled(request)

    return load


def _chosen(listed: list[str], event: gr.SelectData) -> Any:
    return listed[event.index] if 0 <= event.index < len(listed) else gr.skip()
