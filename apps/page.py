"""The page: a form, the job that is watched, and a gallery of what was made. It only reads and writes the job store."""

from collections.abc import Callable
from typing import Any

import gradio as gr

from genkit.apps import page_form, page_models
from genkit.apps.jobs import Store
from genkit.apps.page_fields import Form, first_fields, other_fields
from genkit.apps.page_look import PARTS, View, request_of_file
from genkit.errors import GenkitError, UsageError

TICK = 0.7
"""Seconds between two looks at the store."""
PARTED = """(prompt, tick) => {
    const has = prompt.includes("|"), had = window.promptWasParted;
    window.promptWasParted = has;
    return has && !had ? true : tick;
}"""
"""Ticks the timeline when the first ``|`` comes in, and never against a person who took the tick out again. In the
browser, because a click on the button may follow at once."""
QUIET: dict[str, Any] = {"queue": False, "show_progress": "hidden"}
"""For every event: each only looks at the store and is over at once."""


def build(store: Store, worker_lives: Callable[[], bool] = lambda: True) -> gr.Blocks:
    """The page of a job store.

    ``worker_lives`` tells whether there is a process that does the jobs.
    """
    view = View(store, worker_lives)
    with gr.Blocks(title="genkit", analytics_enabled=False, delete_cache=(3600, 86400)) as page:
        gr.Markdown("# genkit\nText to video: faster, longer and directable, without training.", elem_id="head")
        form, parts = _laid_out()
        job, seen, listed = gr.State(""), gr.State({}), gr.State([])
        shown = [*(parts[key] for key in PARTS), listed, seen]
        look: dict[str, Any] = {"fn": view.look, "inputs": [job, seen], "outputs": shown, **QUIET}
        now = look | {"api_visibility": "private"}
        _form_events(page, form)
        submit, messages = _submit(store, form), [*form.messages.values()]
        parts["make"].click(submit, [*form.fields.values()], [*messages, job], api_name="make", **QUIET).then(**now)
        parts["rerun"].click(view.rerun, job, [job, parts["said"]], api_name="rerun", **QUIET).then(**now)
        parts["cancel"].click(view.cancel, job, None, api_name="cancel", **QUIET).then(**now)
        parts["gallery"].select(_chosen, listed, job, api_visibility="private", **QUIET).then(**now)
        loaded = [*form.fields.values(), parts["said"]]
        load, load_file = _loader(form, view.request), _loader(form, request_of_file)
        parts["load"].click(load, job, loaded, api_name="load_settings", **QUIET)
        parts["upload"].upload(load_file, parts["upload"], loaded, api_name="load_file", **QUIET)
        page.load(view.newest, None, job, api_name="newest", **QUIET).then(**now)
        gr.Timer(TICK).tick(**look, api_name="status")
    return page


def _laid_out() -> tuple[Form, dict[str, Any]]:
    """Form and result side by side, on a phone one below the other; the longer part of each comes after both."""
    form = Form()
    with gr.Row():
        with gr.Column():
            first_fields(form)
            parts: dict[str, Any] = {"make": gr.Button("Make a video", variant="primary", elem_id="make")}
            form.say("make")
            files: dict[str, Any] = {"file_types": [".mp4"], "elem_id": "load-file"}
            parts["upload"] = gr.UploadButton("Load the settings of a video file", size="md", **files)
            parts["said"] = gr.HTML("", elem_id="settings-message", elem_classes="said")
        with gr.Column():
            parts |= _watched()
    with gr.Row():
        with gr.Column():
            other_fields(form)
        with gr.Column():
            receipt = gr.Textbox(
                label="Receipt", lines=12, max_lines=40, interactive=False, elem_id="receipt", visible=False
            )
            gallery = gr.Gallery(
                label="Videos", elem_id="gallery", columns=4, fit_columns=False, object_fit="contain", height="auto",
                allow_preview=False, interactive=False, buttons=[], visible=False,
            )  # fmt: skip
    return form, parts | {"receipt": receipt, "gallery": gallery}


def _watched() -> dict[str, Any]:
    """What is said and shown of one job, and what can be done with it."""
    found: dict[str, Any] = {key: gr.HTML("", elem_id=key, elem_classes="said") for key in ("status", "preview")}
    about: dict[str, Any] = {"label": "Video", "interactive": False, "visible": False}
    found["player"] = gr.Video(autoplay=True, loop=True, buttons=["download"], elem_id="player", **about)
    with gr.Row():
        found["cancel"] = gr.Button("Cancel", variant="stop", visible=False, elem_id="cancel")
        found["rerun"] = gr.Button("Make it again", visible=False, elem_id="rerun")
        found["load"] = gr.Button("Load its settings", visible=False, elem_id="load-settings")
    return found


def _form_events(page: gr.Blocks, form: Form) -> None:
    """Say at once what is wrong, and tick the timeline for a prompt that becomes one."""

    def check(*given: Any) -> list[str]:
        return form.said(page_form.check(form.values(given)))

    inputs, outputs = [*form.fields.values()], [*form.messages.values()]
    gr.on(
        [component.change for component in inputs], check, inputs, outputs, api_name="check",
        trigger_mode="always_last", **QUIET,
    )  # fmt: skip
    page.load(check, inputs, outputs, api_visibility="private", **QUIET)
    if "timeline" in form.fields:
        tick, prompt = form.fields["timeline"], form.fields["prompt"]
        prompt.change(None, [prompt, tick], tick, js=PARTED, api_visibility="private", **QUIET)
    form.fields["model"].input(
        lambda model: page_models.card_of(model).native_frames,
        form.fields["model"], form.fields["num_frames"], api_visibility="private", **QUIET,
    )  # fmt: skip


def _submit(store: Store, form: Form) -> Callable[..., list[Any]]:
    def submit(*given: Any) -> list[Any]:
        """Put a job into the queue, or say what is wrong."""
        checked = page_form.check(form.values(given))
        name: Any = gr.skip()
        if checked.request is not None:
            try:
                name = store.submit(checked.request).id
            except UsageError as error:
                checked.wrong["make"] = str(error)
        else:
            checked.wrong["make"] = f"nothing was begun, because of: {', '.join(checked.wrong).replace('_', ' ')}"
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
