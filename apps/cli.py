"""The command `genkit`: results on standard output, everything else on standard error.

Exit codes: 0 done, 1 the generation failed, 2 invalid command; stopped by Ctrl-C 130, SIGTERM 143, SIGHUP 129.
Tracebacks are shown only with ``--debug`` or GENKIT_DEBUG.
"""

import io
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from genkit.apps.commands.bench import app as bench
from genkit.apps.commands.evaluate import app as evaluation
from genkit.apps.commands.flags import Settings, fields_of, request_from, with_input_flags, with_request_flags
from genkit.apps.commands.versus import fold
from genkit.apps.terminal.ending import report_end, without_debug
from genkit.apps.terminal.progress import guarded_screen, quiet_libraries
from genkit.apps.terminal.signals import orderly_end
from genkit.files.whole import FINISHED
from genkit.request import Request

app = App(
    name="genkit",
    help="Make text-to-video models faster, longer and directable, without training. With --debug, every "
    "command also shows where in the code a failure occurred.",
    version=lambda: version("genkit-video"),
    default_parameter=Parameter(negative=()),
    suppress_keyboard_interrupt=False,
    help_format="plaintext",
)
app.command(evaluation)
app.command(bench)

Output = Annotated[Path | None, Parameter(name=["--output", "-o"], help="File to write, or a folder to write into.")]
Sheet = Annotated[
    bool, Parameter(name="--sheet", show_default=False, help="Also write a contact sheet of frames, as PNG.")
]
NoMetadata = Annotated[
    bool,
    Parameter(
        name="--no-metadata",
        show_default=False,
        help="Store neither request nor receipt: the file records only that genkit made it.",
    ),
]
Json = Annotated[bool, Parameter(name="--json", show_default=False, help="Print JSON for programs.")]


@app.command
@with_request_flags
def generate(
    request: Request,
    *,
    settings: Settings = None,
    output: Output = None,
    num_videos: Annotated[
        int, Parameter(help="Videos to make, with seeds counting up from --seed: name-1.mp4, name-2.mp4 and so on.")
    ] = 1,
    sheet: Sheet = False,
    no_metadata: NoMetadata = False,
    as_json: Json = False,
) -> int:
    """Make a video from a prompt, or from an image or a video and a prompt."""
    from genkit.apps.commands.generate import produce

    return produce(request, output, metadata=not no_metadata, sheet=sheet, as_json=as_json, number=num_videos)


@app.command
@with_input_flags
def rerun(
    file: Annotated[Path, Parameter(help="A video that genkit made.")],
    /,
    *,
    inputs: dict[str, Any],
    model: Annotated[
        str | None, Parameter(help="Model to open; a file may only name 'tiny' or a model that `genkit models` lists.")
    ] = None,
    settings: Settings = None,
    output: Output = None,
    sheet: Sheet = False,
    no_metadata: NoMetadata = False,
    as_json: Json = False,
) -> int:
    """Remake a video from its own file, unchanged or with some settings changed.

    The file supplies prompt, sizes, seed and plug-ins, and the paths of images and videos, which must still have the
    same content. Device, offload, attention backend, pipeline options and other paths are not taken from it: what was
    ignored is reported and can be given with --set.
    """
    from genkit.apps.commands.generate import check_not_source, produce
    from genkit.video.stranger import from_stranger
    from genkit.video.video import read_request

    check_not_source(output, file)
    given = [*(settings or ()), *([] if model is None else [f"model={model}"])]
    kept, notes = from_stranger(read_request(file), fields_of(given) | set(inputs))
    request = request_from(kept | inputs, given)
    return produce(request, output, metadata=not no_metadata, sheet=sheet, as_json=as_json, notes=notes)


@app.command
@with_request_flags
def compare(
    request: Request,
    *,
    settings: Settings = None,
    versus: Annotated[
        list[str] | None,
        Parameter(help="Starts another side: its own --with, --num-frames, --steps, --set follow; repeatable."),
    ] = None,
    seeds: Annotated[int, Parameter(help="Videos per prompt, with seeds counting up from --seed.")] = 1,
    prompts: Annotated[Path | None, Parameter(help="File of additional prompts, one per line.")] = None,
    out: Annotated[
        Path | None, Parameter(help="Folder for videos, scores and report; default: a new one in outputs/.")
    ] = None,
    resume: Annotated[bool, Parameter(show_default=False, help="Continue the comparison in that folder.")] = False,
    as_json: Json = False,
) -> int:
    """Make the same videos in two or more ways, measure them, and write a report."""
    from genkit.apps.commands.compare import compare as run_comparison
    from genkit.apps.commands.versus import sides_of

    sides = sides_of(request, versus or ())
    return run_comparison(sides, out, seeds=seeds, prompts=prompts, resume=resume, print_json=as_json)


@app.command
@with_request_flags
def probe(
    request: Request,
    *,
    settings: Settings = None,
    out: Annotated[Path, Parameter(help="Budget file to write, ending in .json; plug-ins take it as budget=FILE.")],
    recall: Annotated[
        float | None, Parameter(help="Min share of the softmax that every layer keeps; default 0.95.")
    ] = None,
    density: Annotated[
        float | None, Parameter(help="Instead of --recall: max mean share of attention that is computed.")
    ] = None,
    prompts: Annotated[Path | None, Parameter(help="File of additional prompts, one per line.")] = None,
    picture: Annotated[Path | None, Parameter(help="Heat maps to write, as .svg or .png.")] = None,
    as_json: Json = False,
) -> int:
    """Measure in a short run what a sparse plug-in would drop, and choose the level of each layer."""
    from genkit.apps.commands.probe import probe as run_probe

    return run_probe(request, out, picture, recall=recall, density=density, prompts=prompts, as_json=as_json)


@app.command
def plugins(*, as_json: Json = False) -> int:
    """List the plug-ins: paper, seams, parameters with defaults."""
    from genkit.apps.commands import listing

    print(listing.format_rows(listing.plugins(), as_json))
    return 0


@app.command
def models(
    name: Annotated[
        str | None, Parameter(help="Family, hub id or the beginning of a family's name; all of it.")
    ] = None,
    *,
    as_json: Json = False,
) -> int:
    """List the model families that plug-ins support, one line each, or all that is known of one."""
    from genkit.apps.commands import listing

    rows = listing.models(name)
    brief = name is None and not as_json
    print(listing.model_lines(rows) if brief else listing.format_rows(rows, as_json))
    return 0


@app.command
def trace(
    model: Annotated[str, Parameter(help="Hub id, or folder with a diffusers pipeline.")],
    *,
    settings: Annotated[
        list[str] | None,
        Parameter(name="--set", help="KEY=VALUE: an argument of the pipeline's call; images by path; repeatable."),
    ] = None,
    output: Annotated[
        Path | None, Parameter(name=["--output", "-o"], help="New Python file to write the facts into, to complete.")
    ] = None,
    device: Annotated[str | None, Parameter(help="Device; default: a GPU if there is one.")] = None,
    offload: Annotated[str | None, Parameter(help="CPU offload: model, sequential or group.")] = None,
) -> int:
    """Find out what plug-ins have to know of a model that genkit does not know."""
    from genkit.apps.commands.trace import trace as run_trace

    return run_trace(model, settings or (), output, device=device, offload=offload)


@app.command
def doctor(
    *,
    model: Annotated[
        str | None,
        Parameter(help="Model to open instead: is what is known of it right? Runs it a few times, in small."),
    ] = None,
    as_json: Json = False,
) -> int:
    """Report what this machine can run and what is missing; exit code 1 if it cannot make a video.

    With --model, compare the facts of one model with what it does; exit code 1 if one of them is wrong.
    """
    from genkit.apps.commands import doctor

    return doctor.report(as_json) if model is None else doctor.report_model(model, as_json)


@app.command
def demo() -> int:
    """Make a few videos with the embedded model, in outputs/demo."""
    from genkit.apps.commands.demo import run

    return run() or 0


@app.command
def ui(
    *,
    host: Annotated[
        str, Parameter(help="Address to listen on; any address but this machine's own needs --auth.")
    ] = "127.0.0.1",
    port: Annotated[int | None, Parameter(help="Port; default: the first free one from 7860.")] = None,
    output: Annotated[Path, Parameter(name=["--output", "-o"], help="Folder for the videos.")] = Path("outputs/page"),
    auth: Annotated[Path | None, Parameter(help="File with one name:password line per person.")] = None,
    allow_host: Annotated[
        list[str] | None,
        Parameter(help="Additional name the page is reached by, such as a proxy's or this machine's; repeatable."),
    ] = None,
) -> int:
    """Open a page for making videos in the browser."""
    from genkit.apps.door.serve import serve

    return serve(host, port, output, auth, allow_host or ())


def main(tokens: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; ``tokens`` None takes those of the process."""
    FINISHED.clear()
    quiet_libraries()
    _wait_asleep()
    _print_anything()
    words, debug = without_debug(sys.argv[1:] if tokens is None else tokens)
    with guarded_screen(), orderly_end(for_good=tokens is None):
        return _run(words, debug)


def _run(words: Sequence[str], debug: bool) -> int:
    try:
        code = app(fold(words), exit_on_error=False, print_error=False, result_action="return_value") or 0
        sys.stdout.flush()
        return int(code)
    except BaseException as error:
        return report_end(error, debug)


def _wait_asleep() -> None:
    """Make threads that wait for each other sleep instead of spin.

    With one other busy process on two processors, spinning made the embedded model 40 times slower. The variable is
    read once, when torch is loaded.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def _print_anything() -> None:
    """Escape characters that the encoding of the terminal or pipe cannot represent."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
