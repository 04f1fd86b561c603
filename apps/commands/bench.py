"""The commands `genkit bench ...`: how fast attention is on this machine, and against what.

Tables go to standard output. Exit codes: 0 done, 1 a kernel is wrong and nothing was timed, or parts are left to run,
2 the command is wrong, 128 and the signal's number if stopped by one; lines that were written stay.
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
    help="Measure the speed of attention against named baselines; kernels are checked first.",
    default_parameter=Parameter(negative=()),
)

Dtype = Annotated[str | None, Parameter(help="float32, float16 or bfloat16; without it bfloat16, on a CPU float32.")]
Device = Annotated[str | None, Parameter(help="cuda or cpu; without it the GPU where there is one.")]
Impl = Annotated[
    str,
    Parameter(
        help="Of the kernel: auto, triton, gather, flex, xformers or reference; an explicit choice never falls back."
    ),
]
Seed = Annotated[int, Parameter(help="Of tensors and weights.")]
Repeats = Annotated[int | None, Parameter(help="Timed calls of each; tables show median and quartiles.")]
Out = Annotated[Path | None, Parameter(help="File to which one JSON line is added for each row.")]
Plugins = Annotated[
    list[str] | None, Parameter(name="--plugin", help="A sparse plug-in, as in radial:density=0.3; repeatable.")
]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class How:
    """What most commands here take."""

    dtype: Dtype = None
    device: Device = None
    seed: Seed = 0
    repeats: Repeats = None
    out: Out = None

    def values(self) -> dict[str, Any]:
        """Those that a benchmark's configuration has, too."""
        return {"dtype": self.dtype, "device": self.device, "seed": self.seed, "repeats": self.repeats}


DEFAULT = How()


@app.command
def attention(
    *,
    shape: Annotated[list[str] | None, Parameter(help="A model's attention, such as wan-14b-720p; repeatable.")] = None,
    plugin: Plugins = None,
    density: Annotated[list[float] | None, Parameter(help="Of the kernel alone, in (0, 1]; repeatable.")] = None,
    impl: Impl = "auto",
    how: How = DEFAULT,
) -> int:
    """Time kernels and planners at the shapes of real models; on a CPU at likenesses of them."""
    from genkit.benchmarks.speed.attention import AttentionConfig, parse_impl
    from genkit.benchmarks.speed.attention import attention as timed

    chosen: dict[str, Any] = {"densities": tuple(density)} if density else {}
    config = AttentionConfig(
        shapes=tuple(shape or ()),
        plugins=None if plugin is None else tuple(plugin),
        impl=parse_impl(impl),
        **how.values(),
        **chosen,
    )
    return _told(how.out, lambda tell: timed(config, tell, _say))


@app.command
def step(
    *,
    model: Annotated[list[str] | None, Parameter(help="Such as hunyuan-720p; repeatable.")] = None,
    plugin: Plugins = None,
    how: How = DEFAULT,
) -> int:
    """Time a denoising step of a real-size transformer with random weights; on a CPU of a likeness."""
    from genkit.benchmarks.speed.step import StepConfig
    from genkit.benchmarks.speed.step import step as timed

    chosen: dict[str, Any] = {"models": tuple(model)} if model else {}
    chosen |= {"plugins": tuple(plugin)} if plugin else {}
    config = StepConfig(**how.values(), **chosen)
    return _told(how.out, lambda tell: timed(config, tell, _say))


@app.command
def kernel(
    *kernels: Annotated[str, Parameter(help="Such as block_mass; all without it.")],
    shape: Annotated[str, Parameter(help="The model whose attention it is.")] = "wan-1.3b-480p",
    impl: Impl = "auto",
    block: Annotated[int, Parameter(help="Tokens of a block.")] = 64,
    how: How = DEFAULT,
) -> int:
    """Time every operator by itself against its definition in PyTorch."""
    from genkit.benchmarks.speed.attention import parse_impl
    from genkit.benchmarks.speed.kernels import KernelConfig
    from genkit.benchmarks.speed.kernels import kernels as timed

    config = KernelConfig(
        kernels=kernels,
        shape=shape,
        impl=parse_impl(impl),
        block=block,
        **how.values(),
    )
    return _told(how.out, lambda tell: timed(config, tell, _say))


@app.command
def curve(
    *,
    planner: Annotated[
        list[str] | None, Parameter(help="A plug-in with a density, as in radial:block=128; repeatable.")
    ] = None,
    impl: Annotated[list[str] | None, Parameter(help="Of the kernel; gather and flex without it; repeatable.")] = None,
    density: Annotated[list[float] | None, Parameter(help="In (0, 1]; repeatable.")] = None,
    repeats: Annotated[int, Parameter(help="Timed calls of each.")] = 3,
    out: Out = None,
    picture: Annotated[Path | None, Parameter(help="SVG to write.")] = None,
    page: Annotated[Path | None, Parameter(help="Markdown file with a place for the table, as docs/speed.md.")] = None,
) -> int:
    """Measure the speed-up over the density on this CPU, planning counted in, as a table and a picture."""
    from genkit.apps.commands.places import place_for, put
    from genkit.benchmarks.speed import curve_page
    from genkit.benchmarks.speed.attention import parse_impl
    from genkit.benchmarks.speed.curve import CurveConfig
    from genkit.benchmarks.speed.curve import curve as timed
    from genkit.files.whole import replacing
    from genkit.video.ours import is_picture

    place = None if picture is None else place_for(picture, (".svg",), "picture", is_picture)
    if page is not None and not page.is_file():
        raise UsageError(f"the page {str(page)!r} is not there; only the table in it is replaced")
    chosen: dict[str, Any] = {"planners": tuple(planner)} if planner else {}
    chosen |= {"densities": tuple(density)} if density else {}
    chosen |= {"impls": tuple(map(parse_impl, impl))} if impl else {}
    rows: list[dict[str, Any]] = []
    if code := _told(out, lambda tell: rows.extend(timed(CurveConfig(repeats=repeats, **chosen), tell, _say))):
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
    width: Annotated[list[int] | None, Parameter(help="Of a head; 64 and 128 without it; repeatable.")] = None,
    dtype: Annotated[list[str] | None, Parameter(help="Both 16-bit ones without it; repeatable.")] = None,
    device: Device = None,
    out: Out = None,
) -> int:
    """Time candidates for the launch numbers of the block-sparse Triton kernel."""
    from genkit.benchmarks.speed.tuning import TuneConfig
    from genkit.benchmarks.speed.tuning import tune as timed

    chosen: dict[str, Any] = {"widths": tuple(width)} if width else {}
    chosen |= {"dtypes": tuple(dtype)} if dtype else {}
    return _told(out, lambda tell: timed(TuneConfig(device=device, **chosen), tell, _say))


@app.command
def gpu(
    *parts: Annotated[str, Parameter(help="Parts, or their first words, such as attention; all without it.")],
    out: Annotated[Path, Parameter(help="Folder of the results.")] = Path("benchmarks/results"),
    minutes: Annotated[float, Parameter(help="No further part is begun after this; run again for the rest.")] = 5.0,
    again: Annotated[bool, Parameter(show_default=False, help="Run finished parts again.")] = False,
    device: Annotated[str, Parameter(help="cpu rehearses everything on small likenesses.")] = "cuda",
) -> int:
    """Everything about one GPU: correctness, speed at real shapes, steps of real models, launch numbers, goals."""
    from genkit.benchmarks.gpu.run import GpuConfig
    from genkit.benchmarks.gpu.run import gpu as measured

    config = GpuConfig(parts=parts, out=out, minutes=minutes, again=again, device=device)
    return _until_stopped(lambda: int(not measured(config, _say)), out)


def _told(out: Path | None, run: Callable[[Any], object]) -> int:
    """Run with the rows going to ``out``."""
    from genkit.benchmarks.timing.results import lines_to

    def with_lines() -> int:
        with lines_to(out) as tell:
            run(tell)
        return 0

    return _until_stopped(with_lines, out)


def _until_stopped(run: Callable[[], int], out: Path | None) -> int:
    """Run, and say what is kept when the user stops it."""
    try:
        return run()
    except KeyboardInterrupt as error:
        kept = f"; the finished rows are in {str(out)!r}" if out else ""
        print(visible(f"genkit: stopped{kept}"), file=sys.stderr)
        return exit_code(error)


def _say(line: str) -> None:
    print(visible_lines(line), flush=True)
