"""Commands `genkit bench ...`: how fast attention is on this machine, compared to named baselines.

Tables go to standard output. Exit codes: 0 done, 1 a kernel is wrong and nothing was timed, or parts remain to be run,
2 invalid command, 128 plus the signal number if stopped by a signal; rows already written are kept.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from genkit.apps.terminal.signals import exit_code
from genkit.errors import UsageError
from genkit.record.visible import visible, visible_lines

app = App(
    name="bench",
    help="Measure the speed of attention against named baselines; kernels are checked for correctness first.",
    default_parameter=Parameter(negative=()),
)

Dtype = Annotated[str | None, Parameter(help="float32, float16 or bfloat16; default bfloat16, on a CPU float32.")]
Device = Annotated[str | None, Parameter(help="cuda or cpu; default: the GPU if there is one.")]
Impl = Annotated[
    str,
    Parameter(help="Kernel implementation: auto, triton, gather, flex, xformers or reference; no fallback if named."),
]
Seed = Annotated[int, Parameter(help="Seed for tensors and weights.")]
Repeats = Annotated[int | None, Parameter(help="Timed calls per entry; tables show median and quartiles.")]
Out = Annotated[Path | None, Parameter(help="File to append one JSON line per row to.")]
Plugins = Annotated[
    list[str] | None, Parameter(name="--plugin", help="Sparse plug-in, as in radial:density=0.3; repeatable.")
]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class How:
    """Options shared by most benchmark commands."""

    dtype: Dtype = None
    device: Device = None
    seed: Seed = 0
    repeats: Repeats = None
    out: Out = None

    def values(self) -> dict[str, Any]:
        """Return the options that a benchmark's configuration also has."""
        return {"dtype": self.dtype, "device": self.device, "seed": self.seed, "repeats": self.repeats}


DEFAULT = How()


@app.command
def attention(
    *,
    shape: Annotated[
        list[str] | None, Parameter(help="A model's attention shape, such as wan-14b-720p; repeatable.")
    ] = None,
    plugin: Plugins = None,
    density: Annotated[list[float] | None, Parameter(help="Density of the bare kernel, in (0, 1]; repeatable.")] = None,
    impl: Impl = "auto",
    how: How = DEFAULT,
) -> int:
    """Time kernels and planners at the shapes of real models; on a CPU, at scaled-down versions."""
    from genkit.benchmarks.speed.attention import AttentionConfig, parse_impl
    from genkit.benchmarks.speed.attention import attention as measure

    chosen: dict[str, Any] = {"densities": tuple(density)} if density else {}
    config = AttentionConfig(
        shapes=tuple(shape or ()),
        plugins=None if plugin is None else tuple(plugin),
        impl=parse_impl(impl),
        **how.values(),
        **chosen,
    )
    return _run_with_rows(how.out, lambda write: measure(config, write, _say))


@app.command
def step(
    *,
    model: Annotated[list[str] | None, Parameter(help="Model shape, such as hunyuan-720p; repeatable.")] = None,
    plugin: Plugins = None,
    how: How = DEFAULT,
) -> int:
    """Time a denoising step of a real-size transformer with random weights; on a CPU, of a scaled-down one."""
    from genkit.benchmarks.speed.step import StepConfig
    from genkit.benchmarks.speed.step import step as measure

    chosen: dict[str, Any] = {"models": tuple(model)} if model else {}
    chosen |= {"plugins": tuple(plugin)} if plugin else {}
    config = StepConfig(**how.values(), **chosen)
    return _run_with_rows(how.out, lambda write: measure(config, write, _say))


@app.command
def kernel(
    *kernels: Annotated[str, Parameter(help="Operators, such as block_mass; default: all.")],
    shape: Annotated[str, Parameter(help="Model whose attention shape is used.")] = "wan-1.3b-480p",
    impl: Impl = "auto",
    block: Annotated[int, Parameter(help="Tokens per block.")] = 64,
    how: How = DEFAULT,
) -> int:
    """Time each operator alone against its definition in PyTorch."""
    from genkit.benchmarks.speed.attention import parse_impl
    from genkit.benchmarks.speed.kernels import KernelConfig
    from genkit.benchmarks.speed.kernels import kernels as measure

    config = KernelConfig(
        kernels=kernels,
        shape=shape,
        impl=parse_impl(impl),
        block=block,
        **how.values(),
    )
    return _run_with_rows(how.out, lambda write: measure(config, write, _say))


@app.command
def curve(
    *,
    planner: Annotated[
        list[str] | None, Parameter(help="Plug-in with a density, as in radial:block=128; repeatable.")
    ] = None,
    impl: Annotated[list[str] | None, Parameter(help="Kernel; default: gather and flex; repeatable.")] = None,
    density: Annotated[list[float] | None, Parameter(help="Density in (0, 1]; repeatable.")] = None,
    repeats: Annotated[int, Parameter(help="Timed calls per point.")] = 3,
    out: Out = None,
    picture: Annotated[Path | None, Parameter(help="SVG to write.")] = None,
    page: Annotated[Path | None, Parameter(help="Markdown file to put the table into, such as docs/speed.md.")] = None,
) -> int:
    """Measure speed-up against density on this CPU, planning time included, as a table and a picture."""
    from genkit.apps.commands.places import place_for, put
    from genkit.benchmarks.speed import curve_page
    from genkit.benchmarks.speed.attention import parse_impl
    from genkit.benchmarks.speed.curve import CurveConfig
    from genkit.benchmarks.speed.curve import curve as measure
    from genkit.files.whole import replacing
    from genkit.video.ours import is_picture

    place = None if picture is None else place_for(picture, (".svg",), "picture", is_picture)
    if page is not None and not page.is_file():
        raise UsageError(f"the page {str(page)!r} does not exist; name one that has a place for the table")
    chosen: dict[str, Any] = {"planners": tuple(planner)} if planner else {}
    chosen |= {"densities": tuple(density)} if density else {}
    chosen |= {"impls": tuple(map(parse_impl, impl))} if impl else {}
    rows: list[dict[str, Any]] = []
    config = CurveConfig(repeats=repeats, **chosen)
    if code := _run_with_rows(out, lambda write: rows.extend(measure(config, write, _say))):
        return code
    print(curve_page.table(rows), end="")
    if place is not None:
        drawn = curve_page.picture(rows)
        put(place, lambda part: part.write_text(drawn, encoding="utf-8"), "picture")
    if page is not None:
        text = curve_page.insert_table(page.read_text(encoding="utf-8"), rows)
        with replacing(page) as (part,):
            part.write_text(text, encoding="utf-8")
    return 0


@app.command
def tune(
    *,
    operator: Annotated[list[str] | None, Parameter(help="Operator, such as pool; default: all; repeatable.")] = None,
    width: Annotated[list[int] | None, Parameter(help="Head width; default: 64 and 128; repeatable.")] = None,
    dtype: Annotated[list[str] | None, Parameter(help="Data type; default: both 16-bit types; repeatable.")] = None,
    device: Device = None,
    out: Out = None,
) -> int:
    """Check and time candidate launch settings of the Triton kernels."""
    from genkit.benchmarks.speed.tuning import TuneConfig
    from genkit.benchmarks.speed.tuning import tune as measure

    chosen: dict[str, Any] = {"widths": tuple(width)} if width else {}
    chosen |= {"dtypes": tuple(dtype)} if dtype else {}
    chosen |= {"operators": tuple(operator)} if operator else {}
    return _run_with_rows(out, lambda write: measure(TuneConfig(device=device, **chosen), write, _say))


@app.command
def gpu(
    *parts: Annotated[str, Parameter(help="Parts by name or first word, such as attention; default: all.")],
    out: Annotated[Path, Parameter(help="Folder for the results.")] = Path("benchmarks/results"),
    minutes: Annotated[float, Parameter(help="Start no further part after this; run again for the rest.")] = 5.0,
    again: Annotated[bool, Parameter(show_default=False, help="Rerun finished parts.")] = False,
    device: Annotated[str, Parameter(help="cpu rehearses everything at a small scale.")] = "cuda",
) -> int:
    """Measure one GPU completely: correctness, speed at real shapes, steps of real models, launch numbers, goals."""
    from genkit.benchmarks.gpu.run import GpuConfig
    from genkit.benchmarks.gpu.run import gpu as measure

    config = GpuConfig(parts=parts, out=out, minutes=minutes, again=again, device=device)
    return _run_until_stopped(lambda: int(not measure(config, _say)), out)


def _run_with_rows(out: Path | None, run: Callable[[Any], object]) -> int:
    """Run a benchmark and append its rows to ``out``."""
    from genkit.benchmarks.timing.results import lines_to

    def with_lines() -> int:
        with lines_to(out) as write:
            run(write)
        return 0

    return _run_until_stopped(with_lines, out)


def _run_until_stopped(run: Callable[[], int], out: Path | None) -> int:
    """Run, and say what is kept when the user stops it."""
    try:
        return run()
    except KeyboardInterrupt as error:
        kept = f"; the finished rows are in {str(out)!r}" if out else ""
        print(visible(f"genkit: stopped{kept}"), file=sys.stderr)
        return exit_code(error)


def _say(line: str) -> None:
    print(visible_lines(line), flush=True)
