"""The page: a form, the job that is watched, and a gallery of what was made. It only reads and writes the job store."""

import contextlib
from collections.abc import Callable
from typing import Any

import gradio as gr

from genkit.apps.jobs import models
from genkit.apps.jobs.store import Store
from genkit.apps.page import form as page_form
from genkit.apps.page.fields import Form, first_fields, other_fields
from genkit.apps.page.view import PARTS, View, request_of_file
from genkit.errors import GenkitError

TICK = 0.7
"""Seconds between two looks at the store."""
PARTED = """(prompt, tick) => {
    const has = prompt.includes("|"), had = window.promptWasParted;
    window.promptWasParted = has;
    return has && !had ? true : tick;
}"""
"""Ticks the timeline when the first ``|`` comes in, and never against a person who took the tick out again. In the
browser, because a click on the button may follow at once."""
CHOOSE = """element.addEventListener("click", event => {
    const chosen = event.target.closest("button[data-job]");
    if (chosen) trigger("click", {job: chosen.dataset.job});
});"""
"""Tells which video of the gallery was clicked on."""
QUIET: dict[str, Any] = {"queue": False, "show_progress": "hidden"}
"""For every event: each only looks at the store and is over at once."""


def build(
    store: Store,
    worker_lives: Callable[[], bool] = lambda: True,
    account: Callable[[gr.Request], str | None] = lambda request: None,
) -> gr.Blocks:
    """The page of a job store.

    Args:
        worker_lives: tells whether there is a process that does the jobs.
        account: tells from whom a request comes; None where no password is asked for.
    """
    view = View(store, worker_lives)
    with gr.Blocks(title="genkit", analytics_enabled=False, delete_cache=(3600, 86400)) as page:
        gr.Markdown("# genkit\nText to video: faster, longer and directable, without training.", elem_id="head")
        form, parts = _laid_out()
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
            return _loaded(form, lambda: view.request(name, account(request)))

        def asked_in_file(path: str | None) -> list[Any]:
            return _loaded(form, lambda: request_of_file(path))

        parts["load"].click(asked, job, loaded, api_name="load_settings", **QUIET)
        parts["upload"].upload(asked_in_file, parts["upload"], loaded, api_name="load_file", **QUIET)

        def newest(request: gr.Request) -> str:
            return view.newest(account(request))

        page.load(newest, None, job, api_name="newest", **QUIET).then(**now)
        gr.Timer(TICK).tick(**look, api_name="status")
    return page


def _job_events(view: View, parts: dict[str, Any], job: Any, now: dict[str, Any], account: Any) -> None:
    """What the buttons at a job do, and a click on a video."""

    def rerun(name: str, request: gr.Request) -> tuple[Any, str]:
        return view.rerun(name, account(request))

    def cancel(name: str, request: gr.Request) -> None:
        with contextlib.suppress(GenkitError):  # the next look tells why
            view.cancel(name, account(request))

    def chosen(event: gr.EventData) -> Any:
        name = event._data.get("job") if isinstance(event._data, dict) else None  # whose it is, is looked at later
        return name if isinstance(name, str) else gr.skip()

    parts["rerun"].click(rerun, job, [job, parts["said"]], api_name="rerun", **QUIET).then(**now)
    parts["cancel"].click(cancel, job, None, api_name="cancel", **QUIET).then(**now)
    parts["gallery"].click(chosen, None, job, api_visibility="private", **QUIET).then(**now)


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
            gallery = gr.HTML("", elem_id="gallery", elem_classes="said", js_on_load=CHOOSE)
    return form, parts | {"receipt": receipt, "gallery": gallery}


def _watched() -> dict[str, Any]:
    """What is said and shown of one job, and what can be done with it."""
    shown = ("status", "preview", "player")
    found: dict[str, Any] = {key: gr.HTML("", elem_id=key, elem_classes="said") for key in shown}
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
        lambda model: models.card_of(model).native_frames,
        form.fields["model"], form.fields["num_frames"], api_visibility="private", **QUIET,
    )  # fmt: skip


def _submit(view: View, form: Form, account: Any) -> Callable[..., list[Any]]:
    def submit(request: gr.Request, *given: Any) -> list[Any]:
        """Put a job into the queue, or say what is wrong."""
        checked = page_form.check(form.values(given))
        name: Any = gr.skip()
        if checked.request is not None:
            try:
                name = view.submit(checked.request, account(request))
            except GenkitError as error:
                checked.wrong["make"] = str(error)
        else:
            checked.wrong["make"] = f"nothing was begun, because of: {', '.join(checked.wrong).replace('_', ' ')}"
        return [*form.said(checked), name]

    return submit


def _loaded(form: Form, read: Callable[[], dict[str, Any]]) -> list[Any]:
    """Fill the form in with the settings of a video."""
    try:
        request = read()
    except GenkitError as error:
        return form.filled({}, str(error))
    return form.filled(request)
