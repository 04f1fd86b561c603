"""One attention call as rules see it, and the types that every rule speaks."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

from torch import Tensor

from genkit.attention.calls.devices import Devices
from genkit.attention.calls.memory import Place
from genkit.attention.calls.run import RunRecord
from genkit.attention.geometry.grid import VideoGrid
from genkit.attention.geometry.layout import Layout
from genkit.attention.geometry.windows import Window

Kind = Literal["self", "joint", "temporal", "spatial", "cross"]
"""``self``: video tokens of all frames; ``joint``: the same with text; ``temporal``, ``spatial``: one axis; ``cross``:
video queries, text keys."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """Where the sampler is."""

    index: int = 0
    """Solver step, 0 first; counts on when a second expert takes over."""
    total: int = 1
    """Solver steps of the run."""
    sigma: float | None = None
    """Noise level in [0, 1]; None when the scheduler has none."""
    branches: tuple[str, ...] = ("cond",)
    """Guidance branches in the batch, in order: equal parts of it each."""
    frame_progress: Tensor | None = None
    """Progress of each latent frame, float64 ``[frames]`` in [0, 1], where frames are at noise levels of their own, or
    ``[1]`` where all are at one that is not the solver step's; None: all are at the level of the solver step."""

    @property
    def progress(self) -> float:
        """Share of the schedule that lies behind the noisiest frame of this call, in [0, 1]."""
        if self.frame_progress is None:
            return self.index / max(1, self.total)
        return float(self.frame_progress.min())

    def is_past(self, share: float) -> bool:
        """Return whether all frames of this call have a ``share`` in [0, 1] of the schedule behind them.

        Every gate asks this and nothing else. Shares are compared to a millionth of a step: 0.28 of 25 steps are 7
        steps, though ``0.28 * 25`` is a little more.
        """
        return round(self.progress * self.total, 6) >= round(share * self.total, 6)


@dataclass(frozen=True, kw_only=True)
class Call:
    """Everything about one attention call but its tensors ``[B, H, N, D]``."""

    layer: str
    """Name of the attention module inside the model."""
    depth: int
    """Number of the layer among those of its kind, 0 first."""
    kind: Kind
    grid: VideoGrid
    step: Step
    run: RunRecord
    """The record of this generation, and the state that rules keep in it."""
    model: str = "transformer"
    """Name of the pipeline's component; part of the key of every state."""
    number: int = 0
    """Number of this call among those of its layer in one forward; part of the key of every state, since a model may
    attend to each video of a batch by itself."""
    video: int | None = None
    """The only video of the batch that this call was cut down to; part of the key of every state. None is not cut."""
    window: Window | None = None
    """Window of the video that this forward of the model is about; part of the key of every state. None is all of
    it."""
    devices: Devices | None = None
    """Devices of which each computes a part of the heads; None is one device with all."""
    mask: Tensor | None = None
    """The model's own attention mask: bool (True is seen) or additive; broadcasts to ``[B, H, N, N]``."""
    scale: float | None = None
    """Factor on the logits; None is ``D ** -0.5``."""
    layout: Layout | None = None
    """Order in which the video tokens come, set by the model's hooks; None is frame by frame."""
    positions: tuple[Tensor, Tensor, Tensor] | None = None
    """What positions in time would add to the queries, keys and values of a window, ``[H, frames of a window, D]``
    each, where the model left them out; None is that they are in. A rule that cuts windows adds them to each."""
    visible: Tensor | None = None
    """Which key frames a query frame may read: bool ``[frames, frames]``; text is always read. None is all."""
    counted: bool = False
    """Whether the record has this call already, under the name of what it is for."""
    options: dict[str, Any] = field(default_factory=dict)
    """Further arguments that the model gave to ``scaled_dot_product_attention``, as given."""

    @property
    def place(self) -> Place:
        """Key of what this call remembers from step to step."""
        return Place(
            model=self.model,
            layer=self.layer,
            branches=self.step.branches,
            number=self.number,
            video=self.video,
            window=self.window,
            start=self.grid.start,
            near=self.visible is not None,
        )

    @property
    def whole(self) -> VideoGrid:
        """Geometry of the whole video, of which the forward may be about a window."""
        if self.window is None:
            return self.grid
        return replace(self.grid, frames=self.window.frames, start=0)

    def crop(self, begin: int, end: int) -> "Call":
        """The same call inside the window of frames ``begin`` to ``end``; its mask stays whole (see ``cropped``)."""
        visible = None if self.visible is None else self.visible[begin:end, begin:end]
        return replace(self, grid=self.grid.crop(begin, end), visible=visible)


Attend = Callable[[Tensor, Tensor, Tensor, Call], Tensor]
"""``(q, k, v, call) -> out``, all ``[B, H, N, D]``."""

Order = Literal["support", "logits", "branches", "sharing"]
ORDER: tuple[Order, ...] = ("support", "logits", "branches", "sharing")
"""Kinds of rules, innermost first."""


class Rule(Protocol):
    """Middleware around attention; a rule derives from it and has what is written here where it says nothing else."""

    @property
    def name(self) -> str:
        """Name of the plug-in, for the receipt."""
        ...

    @property
    def order(self) -> Order:
        """Where the rule stands among those of other plug-ins."""
        ...

    @property
    def kinds(self) -> frozenset[Kind]:
        """Attention calls that the rule wants to see."""
        ...

    @property
    def layout(self) -> Layout | None:
        """Order in which the rule wants the tokens; None is frame by frame."""
        return None

    @property
    def restarts(self) -> int | None:
        """Latent frames after which positions begin again at 0, in windows of frames; None is nowhere."""
        return None

    @property
    def bare(self) -> "Rule":
        """The rule itself, where another one only counts its calls."""
        return self

    def check_layers(self, layers: Collection[str]) -> None:
        """Raise ``ValueError`` if the rule names a layer that is not among the model's, as ``component.layer``."""
        return None

    def wrap(self, attend: Attend) -> Attend:
        """Return the attention that this rule makes of ``attend``."""
        ...


def compose(attend: Attend, rules: list[Rule], kind: Kind) -> Attend:
    """Wrap ``attend`` in every rule for ``kind``; rules go by ``ORDER`` and then by name, never as they were listed."""
    for rule in sorted(rules, key=lambda rule: (ORDER.index(rule.order), rule.name)):
        if kind in rule.kinds:
            attend = rule.wrap(attend)
    return attend
