"""The page: a form, the watched job, and a gallery of finished videos. It only reads and writes the job store."""

import contextlib
from collections.abc import Callable
from typing import Any

import gradio as gr

from genkit.apps.jobs import models
from genkit.apps.jobs.store import Store
from genkit.apps.page import form as page_form
from genkit.apps.page.fields import Form, first_fields, input_updates, other_fields
from genkit.apps.page.inputs import FIELDS
from genkit.apps.page.view import PARTS, View, request_of_file
from genkit.errors import GenkitError

TICK = 0.7
"""Seconds between two polls of the store."""
TICK_TIMELINE = """(prompt, tick) => {
    const has = prompt.includes("|"), had = window.promptWasParted;
    window.promptWasParted = has;
    return has && !had ? true : tick;
}"""
"""Ticks the timeline when the first ``|`` is typed, but never again after the user cleared the tick. Runs in the
browser, because a click on the button may follow at once."""
CHOOSE = """element.addEventListener("click", event => {
    const chosen = event.target.closest("button[data-job]");
    if (chosen) trigger("click", {job: chosen.dataset.job});
});"""
"""Sends the name of the video that was clicked in the gallery."""
QUIET: dict[str, Any] = {"queue": False, "show_progress": "hidden"}
"""For every event: each only polls the store and returns at once."""


def build(
    store: Store,
    worker_lives: Callable[[], bool] = lambda: True,
    account: Callable[[gr.Request], str | None] = lambda request: None,
) -> gr.Blocks:
    """Return the page of a job store.

    Args:
        worker_lives: returns True if a process is doing the jobs.
        account: returns the account a request comes from; None if no password is required.
    """
    view = View(store, worker_lives)
    with gr.Blocks(title="genkit", analytics_enabled=False, delete_cache=(3600, 86400)) as page:
        gr.Markdown("# genkit\nText to video: faster, longer and directable, without training.", elem_id="head")
        form, parts = _lay_out()
        job, seen = gr.State(""), gr.State({})
        shown = [*(parts[key] for key in PARTS), seen]

        def looked(name: str, before: dict[str, Any], request: gr.Request) -> list[Any]:
            return view.look(name, before, account(request))

        look: dict[str, Any] = {"fn": looked, "inputs": [job, seen], "outputs": shown, **QUIET}
        now = look | {"api_visibility": "private"}
        _form_events(page, form)
        submit, messages = _submit(view, form, account), [*form.messages.values()]
        parts["make"].click(submit, [*form.fields.values()], [*messages, job], api_name="make", **QUIET).then(**now)
        _job_events(view, parts, job, now, account)
        loaded = [*form.fields.values(), parts["said"]]

        def asked(name: str, request: gr.Request) -> list[Any]:
            return _load_settings(form, lambda: view.request(name, account(request)))

        def asked_in_file(path: str | None) -> list[Any]:
            return _load_settings(form, lambda: request_of_file(path))

        parts["load"].click(asked, job, loaded, api_name="load_settings", **QUIET)
        parts["upload"].upload(asked_in_file, parts["upload"], loaded, api_name="load_file", **QUIET)

        def newest(request: gr.Request) -> str:
            return view.newest(account(request))

        page.load(newest, None, job, api_name="newest", **QUIET).then(**now)
        gr.Timer(TICK).tick(**look, api_name="status")
    return page


def _job_events(view: View, parts: dict[str, Any], job: Any, now: dict[str, Any], account: Any) -> None:
    """Connect the buttons of a job, and clicks on a video."""

    def rerun(name: str, request: gr.Request) -> tuple[Any, str]:
        return view.rerun(name, account(request))

    def cancel(name: str, request: gr.Request) -> None:
        with contextlib.suppress(GenkitError):  # the next poll shows the reason
            view.cancel(name, account(request))

    def chosen(event: gr.EventData) -> Any:
        name = event._data.get("job") if isinstance(event._data, dict) else None  # its owner is checked later
        return name if isinstance(name, str) else gr.skip()

    parts["rerun"].click(rerun, job, [job, parts["said"]], api_name="rerun", **QUIET).then(**now)
    parts["cancel"].click(cancel, job, None, api_name="cancel", **QUIET).then(**now)
    parts["gallery"].click(chosen, None, job, api_visibility="private", **QUIET).then(**now)


def _lay_out() -> tuple[Form, dict[str, Any]]:
    """Form and result side by side (stacked on a phone), with the longer part of each below both."""
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
            parts |= _job_components()
    with gr.Row():
        with gr.Column():
            other_fields(form)
        with gr.Column():
            receipt = gr.Textbox(
                label="Receipt", lines=12, max_lines=40, interactive=False, elem_id="receipt", visible=False
            )
            gallery = gr.HTML("", elem_id="gallery", elem_classes="said", js_on_load=CHOOSE)
    return form, parts | {"receipt": receipt, "gallery": gallery}


def _job_components() -> dict[str, Any]:
    """Components that show one job, and its buttons."""
    shown = ("status", "preview", "player")
    found: dict[str, Any] = {key: gr.HTML("", elem_id=key, elem_classes="said") for key in shown}
    with gr.Row():
        found["cancel"] = gr.Button("Cancel", variant="stop", visible=False, elem_id="cancel")
        found["rerun"] = gr.Button("Make it again", visible=False, elem_id="rerun")
        found["load"] = gr.Button("Load its settings", visible=False, elem_id="load-settings")
    return found


def _form_events(page: gr.Blocks, form: Form) -> None:
    """Report errors while the form is filled in, and tick the timeline for a prompt that becomes one."""

    def check(*given: Any) -> list[Any]:
        *values, of_button = given
        return form.said_while_filling(page_form.check(form.values(tuple(values))), of_button)

    inputs, outputs = [*form.fields.values(), form.messages["make"]], [*form.messages.values()]
    gr.on(
        [component.change for component in form.fields.values()], check, inputs, outputs, api_name="check",
        trigger_mode="always_last", **QUIET,
    )  # fmt: skip
    page.load(check, inputs, outputs, api_visibility="private", **QUIET)
    if "timeline" in form.fields:
        tick, prompt = form.fields["timeline"], form.fields["prompt"]
        prompt.change(None, [prompt, tick], tick, js=TICK_TIMELINE, api_visibility="private", **QUIET)
    form.fields["model"].input(
        lambda model: models.card_of(model).native_frames,
        form.fields["model"], form.fields["num_frames"], api_visibility="private", **QUIET,
    )  # fmt: skip
    given = [form.fields[key] for key in (*FIELDS, "resize")]
    form.fields["model"].change(input_updates, form.fields["model"], given, api_visibility="private", **QUIET)


def _submit(view: View, form: Form, account: Any) -> Callable[..., list[Any]]:
    def submit(request: gr.Request, *given: Any) -> list[Any]:
        """Put a job into the queue, or report what is wrong."""
        checked = page_form.check(form.values(given))
        name: Any = gr.skip()
        if checked.request is not None:
            try:
                name = view.submit(checked.request, account(request))
            except GenkitError as error:
                checked.wrong["make"] = str(error)
        else:
            checked.wrong["make"] = f"no job was started; check: {', '.join(checked.wrong).replace('_', ' ')}"
        return [*form.said(checked), name]

    return submit


def _load_settings(form: Form, read: Callable[[], dict[str, Any]]) -> list[Any]:
    """Fill in the form with the settings of a video."""
    try:
        request = read()
    except GenkitError as error:
        return form.filled({}, str(error))
    return form.filled(request)
