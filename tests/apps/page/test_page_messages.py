"""Messages of the form: what a click reported stays until it no longer applies."""

from typing import Any

import pytest

gr = pytest.importorskip("gradio", reason="the page needs gradio")

from genkit.apps.page.fields import Form, first_fields  # noqa: E402
from genkit.apps.page.form import check, defaults  # noqa: E402

REPORTED = "<p>No job was started; check: seed</p>"


@pytest.fixture(scope="module")
def form() -> Form:
    made = Form()
    with gr.Blocks():
        first_fields(made)
        made.say("make")
    return made


def of_button(form: Form, seed: str, reported: str) -> Any:
    """Message below the button after a check of the form, whose click had reported something when it began."""
    said = form.said_while_filling(check(defaults() | {"seed": seed}), reported)
    return dict(zip(form.messages, said, strict=True))["make"]


def test_a_check_that_began_before_a_click_does_not_clear_its_message(form: Form) -> None:
    assert of_button(form, "seven", "") == gr.skip() == of_button(form, "7", "")


def test_the_message_of_a_click_goes_when_the_form_is_right(form: Form) -> None:
    assert of_button(form, "seven", REPORTED) == gr.skip()
    assert of_button(form, "7", REPORTED) == ""
