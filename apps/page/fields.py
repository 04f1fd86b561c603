"""The form as Gradio components: one per field, each with a line for messages."""

from dataclasses import dataclass, field
from typing import Any

import gradio as gr

from genkit.apps.jobs import models
from genkit.apps.page import form as page_form
from genkit.apps.page import html, inputs, plugin_fields
from genkit.errors import UsageError
from genkit.inputs.words import RESIZES, WORDS
from genkit.plugins import catalogue
from genkit.request import Request

TEXT: dict[str, Any] = {"max_length": page_form.LONGEST_TEXT}


@dataclass
class Form:
    """Input components, and a place for the message of each."""

    fields: dict[str, Any] = field(default_factory=dict)
    messages: dict[str, Any] = field(default_factory=dict)

    def add(self, key: str, component: Any) -> None:
        """Register a field, and place an empty message line below it."""
        self.fields[key] = component
        self.say(key)

    def add_row(self, **components: Any) -> None:
        """Register fields already laid out side by side, and place their message lines below."""
        self.fields |= components
        for key in components:
            self.say(key)

    def say(self, key: str) -> None:
        """Place an empty message line here."""
        self.messages[key] = gr.HTML("", elem_id=f"{key}-message", elem_classes="said")

    def values(self, given: tuple[Any, ...]) -> dict[str, Any]:
        """Return the values that Gradio passes, by key."""
        return dict(zip(self.fields, given, strict=True))

    def said(self, checked: page_form.Checked) -> list[str]:
        """Return the messages, in the order of the components."""
        return [html.message(checked, key) for key in self.messages]

    def said_while_filling(self, checked: page_form.Checked, of_button: str) -> list[Any]:
        """Return the messages, but leave ``of_button``, the message of the last click, while it is empty or applies.

        A check that began before the click ends after it: it must not clear what the click reported.
        """
        messages: list[Any] = self.said(checked)
        if checked.wrong or not of_button:
            messages[list(self.messages).index("make")] = gr.skip()
        return messages

    def filled(self, request: Any, wrong: str = "") -> list[Any]:
        """Return one value per field and a sentence; on an error no field is changed."""
        if not wrong:
            try:
                values, notes = page_form.settings(request)
                said = html.paragraph("hint", " ".join(["Settings loaded.", *notes]))
                return [*(values[key] for key in self.fields), said]
            except UsageError as error:
                wrong = str(error)
        return [*(gr.skip() for _ in self.fields), html.paragraph("wrong", wrong, 'role="alert"')]


def first_fields(form: Form) -> None:
    """Add the fields that everyone fills in."""
    first = page_form.defaults()
    about = "What the video shows. 'first | then' gives two prompts over time; so does a list of events in JSON."
    form.add("prompt", gr.Textbox(first["prompt"], label="Prompt", info=about, lines=3, elem_id="prompt", **TEXT))
    with gr.Row():
        model = gr.Dropdown(models.names(), value="tiny", label="Model", elem_id="model", min_width=200)
        frames = gr.Number(first["num_frames"], label="Frames", step=2, elem_id="num_frames", min_width=100)
        seed = gr.Textbox("", label="Seed", placeholder="drawn", max_length=20, elem_id="seed", min_width=100)
    form.add_row(model=model, num_frames=frames, seed=seed)
    for key in inputs.FIELDS:
        form.add(key, _file(key))
    about = str(Request.model_fields["resize"].description)
    form.add("resize", gr.Dropdown(list(RESIZES), label="Resize", info=about, elem_id="resize", visible=False))


def input_updates(model: str) -> list[Any]:
    """Return the updates that show the inputs that a model takes, and empty and hide the others."""
    takes = models.offer_of(model).takes
    shown = [key in takes for key in inputs.FIELDS] + [bool(takes)]
    return [gr.update(visible=True) if there else gr.update(visible=False, value=None) for there in shown]


def _file(key: str) -> Any:
    form = WORDS[key].form
    kinds = {"image": ["image"], "images": ["image"], "video": ["video", ".gif"], "mask": ["image", "video"]}[form]
    about = WORDS[key].about.removesuffix(": a file.").removesuffix(".")
    return gr.File(
        label=f"{key.replace('_', ' ').capitalize()}: {about[0].lower()}{about[1:]}",
        file_count="multiple" if form == "images" else "single",
        file_types=kinds, type="filepath", elem_id=key, visible=False, height=120,
    )  # fmt: skip


def other_fields(form: Form) -> None:
    """Add the plug-ins, and settings that are rarely changed."""
    gr.Markdown("### Plug-ins")
    with gr.Group():
        for name in catalogue.names():
            _plugin(form, name)
    with gr.Accordion("More", open=False, elem_id="more"):
        about = str(Request.model_fields["negative_prompt"].description)
        negative = gr.Textbox("", label="Negative prompt", info=about, elem_id="negative_prompt", **TEXT)
        form.add("negative_prompt", negative)
        for key in page_form.NUMBERS:
            about = f"{Request.model_fields[key].description} Leave empty for the model's own."
            form.add(key, _number_or_nothing(label=key.replace("_", " ").capitalize(), info=about, elem_id=key))


def _plugin(form: Form, name: str) -> None:
    """A tick box, and the parameters below it."""
    card = catalogue.describe(catalogue.plugin_class(name))
    label = f"{card.title} ({card.paper})"
    form.add(name, gr.Checkbox(False, label=label, info=card.summary, elem_id=f"plugin-{name}"))
    with gr.Accordion(f"Parameters of {name}", open=False, elem_id=f"parameters-{name}"):
        for entry in plugin_fields.fields(name):
            form.fields[entry.key] = _parameter(entry)


def _number_or_nothing(label: str, info: str, elem_id: str) -> Any:
    """Text field for a number, because an empty ``gr.Number`` turns into 0 as soon as it is shown."""
    return gr.Textbox("", label=label, info=info, elem_id=elem_id, max_length=20)


def _parameter(entry: plugin_fields.Field) -> Any:
    about: dict[str, Any] = {
        "label": entry.name,
        "info": f"{entry.description} ({entry.type})",
        "elem_id": entry.key.replace(".", "-"),
    }
    if entry.kind == "flag":
        return gr.Checkbox(bool(entry.default), **about)
    if entry.kind == "choice":
        return gr.Dropdown(list(entry.choices), value=entry.default, **about)
    if entry.kind == "number":
        return _number_or_nothing(**about) if entry.default is None else gr.Number(entry.default, **about)
    return gr.Textbox(entry.default or "", max_length=page_form.LONGEST_TEXT, **about)
