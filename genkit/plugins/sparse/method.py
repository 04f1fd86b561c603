"""Shared part of all sparse-attention plug-ins: which calls are sparse, and how much they keep."""

import typing
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Self

from genkit.attention.planning.planner import Planner
from genkit.attention.planning.rule import SparseFields, SparseRule
from genkit.errors import UsageError
from genkit.plugins.budget import read_budget
from genkit.plugins.contract import FilePath, Parts, Target


@dataclass(frozen=True, kw_only=True)
class Sparse(SparseFields, ABC):
    """A method that skips part of the attention over all frames."""

    name: ClassVar[str]
    title: ClassVar[str]
    paper: ClassVar[str]
    seams: ClassVar[tuple[str, ...]] = ("attention",)
    claims: ClassVar[frozenset[str]] = frozenset({"sparse attention"})
    hides_frames: ClassVar[bool] = True
    """Whether the method can skip whole frames, as windows require; if not, windows are dense."""
    sparse_example: ClassVar[str]
    """Parameters, as text, that skip much of a clip of 60 tokens in 5 latent frames; for tests."""
    dense_example: ClassVar[str]
    """Parameters, as text, that skip nothing of that clip."""
    tiny_example: ClassVar[str] = ""
    """Parameters, as text, for the benchmark of planners: a density near 0.3 on the embedded model if the method has
    such a parameter."""

    block: int | None = None
    """Tokens per block; None is the method's usual 64 or 128, or fewer for small frames."""
    budget: FilePath | None = None
    """JSON file from ``genkit probe`` whose settings by layer replace the method's own; not with ``recall``."""

    def __post_init__(self) -> None:
        self.check_least(1, "block")
        self.check_shares("recall", "max_density")
        if self.recall is not None and self.budget is not None:
            raise UsageError(
                f"{self.name}: recall={self.recall} and budget={self.budget!r} both set how much is kept; leave one out"
            )
        if not 0 <= self.dense_steps <= 1:
            raise UsageError(
                f"{self.name}: dense_steps={self.dense_steps} is a share of the steps and must be in [0, 1]"
            )
        if self.dense_sigma is not None and not 0 <= self.dense_sigma <= 1:
            raise UsageError(f"{self.name}: dense_sigma={self.dense_sigma} is a noise level and must be in [0, 1]")
        self.check_least(0, "dense_layers", "min_tokens")
        self.check_choices("impl")
        self.check()

    @abstractmethod
    def check(self) -> None:
        """Raise ``UsageError`` if one of the method's own parameters is out of range."""

    @abstractmethod
    def planner(self) -> Planner:
        """Return the planner with these settings, after ``bound`` has filled in those that depend on the model."""

    def bound(self, target: Target) -> Self:
        """Return the method with the settings that depend on the model filled in."""
        return self

    def parts(self, target: Target) -> Parts:
        """Return the method as a rule for a target."""
        if not target.kinds & {"self", "joint"}:
            raise UsageError(
                f"{self.name} needs attention over all frames at once, and {target.title} has separate attention over "
                f"space and time; leave {self.name} out"
            )
        rule = SparseRule(
            planner=self._alone().bound(target).planner(),
            budget=self._read_budget(target),
            **{field.name: getattr(self, field.name) for field in fields(SparseFields)},
        )
        return Parts(rules=[rule])

    def _alone(self, **fields: Any) -> Self:
        """Return the method with some fields replaced, without those that belong to the rule."""
        return replace(self, **({"recall": None, "budget": None} | fields))

    @classmethod
    def layer_fields(cls) -> frozenset[str]:
        """Return the names of the fields that may differ between layers: the method's own and ``block``."""
        shared = {field.name for field in fields(Sparse)} - {"block"}
        return frozenset(field.name for field in fields(cls)) - shared

    def in_layer(self, given: Mapping[str, Any], target: Target) -> dict[str, Any]:
        """Return checked fields for one layer, with those that depend on the model filled in.

        Raises:
            UsageError: a field that the method does not have in a layer, or a value out of range.
        """
        known = self.layer_fields()
        if unknown := sorted(given.keys() - known):
            raise UsageError(
                f"{self.name} has no parameter {unknown[0]!r} in a layer; it has {', '.join(sorted(known))}"
            )
        bound = self._alone(**given).bound(target)
        return {name: getattr(bound, name) for name in given}

    def _read_budget(self, target: Target) -> Mapping[str, Mapping[str, Any]] | None:
        if self.budget is None:
            return None
        try:
            layers = read_budget(self.budget, type(self))
        except ValueError as error:
            raise UsageError(f"{self.name}: {error}") from None
        return {layer: self._from_budget(layer, given, target) for layer, given in layers.items()}

    def _from_budget(self, layer: str, given: Mapping[str, Any], target: Target) -> dict[str, Any]:
        try:
            return self.in_layer(given, target)
        except UsageError as error:
            raise UsageError(
                f"the budget {self.budget!r} has an invalid setting in {layer}: {error}; probe again"
            ) from None

    @property
    def can_hide_frames(self) -> bool:
        """True if ``hides_frames`` is, and the planner keeps the tokens of each frame together."""
        layout = self.planner().layout
        return self.hides_frames and (layout is None or not layout.mixes_frames)

    def check_shares(self, *fields: str) -> None:
        """Raise ``UsageError`` unless each field is None or a share in (0, 1]."""
        for field in fields:
            value = getattr(self, field)
            if value is not None and not 0 < value <= 1:
                raise UsageError(f"{self.name}: {field}={value} must be in (0, 1]; 1 is everything")

    def check_least(self, least: int, *fields: str) -> None:
        """Raise ``UsageError`` unless each field is None or at least ``least``."""
        for field in fields:
            value = getattr(self, field)
            if value is not None and not value >= least:
                raise UsageError(f"{self.name}: {field}={value} must be at least {least}")

    def check_choices(self, *fields: str) -> None:
        """Raise ``UsageError`` unless each field is one of the words of its type."""
        hints = typing.get_type_hints(type(self))
        for field in fields:
            value, words = getattr(self, field), typing.get_args(hints[field])
            if value not in words:
                raise UsageError(f"{self.name}: {field}={value!r} must be {' or '.join(map(repr, words))}")
