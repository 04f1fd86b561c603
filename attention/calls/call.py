"""One attention call as rules see it, and the types that all rules share."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

from torch import Tensor

from genkit.attention.calls.devices import Devices
from genkit.attention.calls.frame_logits import FrameLogits
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
    """Position of the sampler."""

    index: int = 0
    """Solver step, from 0; continues to count when a second expert takes over."""
    total: int = 1
    """Solver steps of the run."""
    sigma: float | None = None
    """Noise level in [0, 1]; None if the scheduler has none."""
    branches: tuple[str, ...] = ("cond",)
    """Guidance branches in the batch, in order; each has an equal part of it."""
    frame_progress: Tensor | None = None
    """Progress by noise level, float64 in [0, 1]: ``[frames]`` if each latent frame has its own level, ``[1]`` if all
    share one that is not the solver step's. None: all are at the level of the solver step."""

    @property
    def progress(self) -> float:
        """Share of the schedule that the noisiest frame of this call has completed, in [0, 1]."""
        if self.frame_progress is None:
            return self.index / max(1, self.total)
        return float(self.frame_progress.min())

    def is_past(self, share: float) -> bool:
        """Return True if all frames of this call have completed a ``share`` in [0, 1] of the schedule.

        All gates use only this. Shares are compared to a millionth of a step: 0.28 of 25 steps is 7 steps, although
        ``0.28 * 25`` is slightly more.
        """
        return round(self.progress * self.total, 6) >= round(share * self.total, 6)


@dataclass(frozen=True, kw_only=True)
class Call:
    """Everything about one attention call except its tensors ``[B, H, N, D]``."""

    layer: str
    """Name of the attention module inside the model."""
    depth: int
    """Index of the layer among those of its kind, from 0."""
    kind: Kind
    grid: VideoGrid
    step: Step
    run: RunRecord
    """Record of this generation, with the state that rules keep between calls."""
    model: str = "transformer"
    """Name of the pipeline's component; part of every state key."""
    number: int = 0
    """Index of this call among those of its layer in one forward; part of every state key, because some models attend
    to each video of a batch separately."""
    video: int | None = None
    """Video of the batch to which this call was cut down; part of every state key. None: the whole batch."""
    window: Window | None = None
    """Window of the video that this forward denoises; part of every state key. None: the whole video."""
    devices: Devices | None = None
    """Devices that each compute a part of the heads; None: one device computes all."""
    mask: Tensor | None = None
    """The model's own attention mask: bool (True may be read) or additive; broadcasts to ``[B, H, N, N]``."""
    scale: float | None = None
    """Factor on the logits; None: ``D ** -0.5``."""
    layout: Layout | None = None
    """Order of the video tokens, set by the model's hooks; None: frame by frame."""
    positions: tuple[Tensor, Tensor, Tensor] | None = None
    """Contribution of temporal positions to the queries, keys and values of a window, ``[H, frames of a window, D]``
    each, if the model left it out; a rule that cuts windows adds it in each. None: already added."""
    visible: Tensor | None = None
    """Key frames that each query frame may read: bool ``[frames, frames]``; text is always read. None: all."""
    logits: FrameLogits | None = None
    """Changes of the logits between frames, which the innermost attention makes. None: none."""
    counted: bool = False
    """True if this call is already counted (as warm-up)."""
    options: dict[str, Any] = field(default_factory=dict)
    """Further arguments that the model passed to ``scaled_dot_product_attention``, unchanged."""

    @property
    def place(self) -> Place:
        """Key of the state of this call, the same in every step."""
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
        """Geometry of the whole video, also where this forward denoises a window."""
        if self.window is None:
            return self.grid
        return replace(self.grid, frames=self.window.frames, start=0)

    def crop(self, begin: int, end: int) -> "Call":
        """Return the call restricted to the frames ``begin`` to ``end`` (exclusive); the mask is not cropped."""
        visible = None if self.visible is None else self.visible[begin:end, begin:end]
        logits = None if self.logits is None else self.logits.crop(begin, end)
        return replace(self, grid=self.grid.crop(begin, end), visible=visible, logits=logits)


Attend = Callable[[Tensor, Tensor, Tensor, Call], Tensor]
"""``(q, k, v, call) -> out``, all ``[B, H, N, D]``."""

Order = Literal["support", "logits", "branches", "sharing"]
ORDER: tuple[Order, ...] = ("support", "logits", "branches", "sharing")
"""Kinds of rules, innermost first."""


class Rule(Protocol):
    """Middleware around attention; rules derive from it and inherit its defaults."""

    @property
    def name(self) -> str:
        """Name of the plug-in, for the receipt."""
        ...

    @property
    def order(self) -> Order:
        """Kind of the rule, which decides its place among those of other plug-ins."""
        ...

    @property
    def kinds(self) -> frozenset[Kind]:
        """Kinds of attention calls that the rule wraps."""
        ...

    @property
    def layout(self) -> Layout | None:
        """Token order that the rule requests; None: frame by frame."""
        return None

    @property
    def restarts(self) -> int | None:
        """Length in latent frames of the windows in which positions restart at 0; None: they never restart."""
        return None

    @property
    def bare(self) -> "Rule":
        """The rule without a wrapper that only counts its calls."""
        return self

    def check_layers(self, layers: Collection[str]) -> None:
        """Raise ``ValueError`` if the rule names a layer, as ``component.layer``, that is not in ``layers``."""
        return None

    def wrap(self, attend: Attend) -> Attend:
        """Return ``attend`` wrapped in this rule."""
        ...


def compose(attend: Attend, rules: list[Rule], kind: Kind) -> Attend:
    """Wrap ``attend`` in every rule for ``kind``, sorted by ``ORDER`` and then by name, never as listed."""
    for rule in sorted(rules, key=lambda rule: (ORDER.index(rule.order), rule.name)):
        if kind in rule.kinds:
            attend = rule.wrap(attend)
    return attend
