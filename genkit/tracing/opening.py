"""Open a model that nothing is known of, to trace it."""

from typing import Any

from genkit.checks.devices import check_device
from genkit.opening.pipeline import open_pipeline
from genkit.opening.stored import check_stored, place


def open_unknown(model: str, device: str | None, offload: str | None) -> Any:
    """Open a model of any family, in its usual precision, and return the diffusers pipeline.

    Args:
        model: hub id, or folder with a diffusers pipeline.
        device: ``"cpu"``, ``"cuda"``...; None takes a GPU if there is one.
        offload: as for ``genkit.load``.

    Raises:
        UsageError: there is no such model or device, or the machine cannot offload.
        GenkitError: the model could not be opened.
    """
    where = check_device(device)
    check_stored(offload, None, None, None, where)
    pipe = open_pipeline(model, None, where, (), None, [], known=False)
    place(pipe, offload, where, True)
    pipe.set_progress_bar_config(disable=True)
    return pipe
