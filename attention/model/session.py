"""Installation of rules in a pipeline's models: attention calls are routed through them, and removal leaves no trace.

The forward of each attention module runs inside a ``TorchFunctionMode`` that routes ``scaled_dot_product_attention``;
projections, norms and rotary embeddings stay the model's own. Another pipeline that shares a model is not affected.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor, nn

from genkit.attention.calls.call import Call
from genkit.attention.calls.dense import untouched
from genkit.attention.calls.keys_only import attend_with_all_queries
from genkit.attention.facts.volume import plain_model
from genkit.attention.model.callers import nearest_pipeline
from genkit.attention.model.forwards import Forwards, UnroutedError
from genkit.attention.model.hooks import Around, Passage, refuse_ring
from genkit.attention.model.layers import Layer, module_at
from genkit.attention.model.positions import Positions, embedding_of, leave_out, projected
from genkit.attention.model.router import routed


class ReplacedError(RuntimeError):
    """The pipeline's part in which rules are installed was replaced; the only argument is the name of the part."""


class Session(Forwards):
    """Installation of rules in one pipeline: answers its attention calls until removed."""

    def install(self) -> None:
        """Register the hooks on every attention module and on the models themselves.

        Raises:
            LookupError: the pipeline has no attention module that its family's card names.
            ValueError: a model splits the keys of a call over devices.
        """
        for name, model in self.models.items():
            refuse_ring(name, model)
        if not self.layers:
            raise LookupError(
                f"no attention module of {type(self.pipe).__name__} matches the card of {self.card.title}; "
                "is this another version of the model?"
            )
        for layer in self.layers:
            self.passages.append(Passage(layer.module, partial(self.route, layer)))
        for name, model in self.models.items():
            self.around.append(Around(name, model, self))
        self._restart_positions()
        self.reordering.install(self.models)

    def _restart_positions(self) -> None:
        """Leave the positions of long videos to the rule in whose windows they restart."""
        for embedding in self._restarting():
            self.passages.append(leave_out(embedding, self.window or 0, lambda: self._forward is not None))

    @property
    def bounded(self) -> bool:
        """True if the model's positions limit the length of a video; False if they restart in windows."""
        return not self._restarting() and self.max_frames is None

    def _restarting(self) -> list[nn.Module]:
        """Modules that add temporal positions, if these restart in the windows of a rule."""
        layers = [layer for layer in self.layers if layer.kind == "temporal" and self.window is not None]
        found = (self._embedding(layer) for layer in layers)
        return list(dict.fromkeys(one for one in found if one is not None))

    def _embedding(self, layer: Layer) -> nn.Module | None:
        return embedding_of(self.models[layer.component], layer.name)

    def _positions(self, layer: Layer, q: Tensor) -> Positions | None:
        """Positions that the model did not add in a temporal call longer than a window."""
        if self.window is None or layer.kind != "temporal" or q.shape[2] <= self.window:
            return None
        embedding, key = self._embedding(layer), ("positions", layer.component, layer.name, q.dtype, str(q.device))
        if embedding is None:
            return None
        window, table = self.window, self.table_of(embedding, self.window)
        return self.run.memory.table(key, lambda: projected(layer.module, table, window, q))

    def remove(self) -> None:
        """Remove all hooks, last in first out."""
        self.reordering.remove()
        while self.around:
            self.around.pop().remove()
        while self.passages:
            self.passages.pop().remove()

    def check_parts(self) -> None:
        """Check that the pipeline still has the models and layers with the rules, and renew hooks that were removed.

        Raises:
            ReplacedError: a model or layer was replaced.
        """
        for name, model in self.models.items():
            if plain_model(getattr(self.pipe, name, None)) is not model:
                raise ReplacedError(name)
        for layer in self.layers:
            if module_at(self.models[layer.component], layer.name) is not layer.module:
                raise ReplacedError(f"{layer.component}.{layer.name}")
        for passage in self.passages:
            passage.renew()

    def copied(self) -> None:
        """Report that a model is being copied or pickled."""
        self.on_copy()

    def route(self, layer: Layer, forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Run one attention module with its attention routed, or unchanged in another pipeline's forward.

        Raises:
            UnroutedError: it runs for this pipeline, but the beginning of its model's forward was not seen.
        """
        if self._thread.trial is not None:
            return routed(layer.module, partial(forward, *args, **kwargs), partial(self._thread.trial, layer))
        if self._forward is not None:
            return routed(layer.module, partial(forward, *args, **kwargs), partial(self.attend, layer))
        if not self._thread.foreign and nearest_pipeline() is self.pipe:
            raise UnroutedError(
                f"{layer.component}.{layer.name} ran in a forward of its model whose beginning was not seen, so no "
                "rule could act there; remove() the plug-ins and apply() them again after changing the pipeline"
            )
        return forward(*args, **kwargs)

    def attend(
        self, layer: Layer, backend: str | None, q: Tensor, k: Tensor, v: Tensor, given: dict[str, Any]
    ) -> Tensor:
        """Answer one call of ``scaled_dot_product_attention``."""
        assert self._forward is not None
        number = self._forward.counted(layer.name)
        if layer.kind == "joint" and number < self.card.models[layer.component].text_calls:
            return untouched(q, k, v, given, backend)
        options = {name: value for name, value in given.items() if name not in ("attn_mask", "scale")}
        if backend is not None:
            options["backend"] = backend
        call = Call(
            layer=layer.name,
            depth=layer.depth,
            kind=layer.kind,
            model=layer.component,
            grid=self._grid(layer.kind, q),
            layout=self._forward.layout if layer.kind in ("self", "joint") else None,
            step=self._forward.step_of(q, number),
            window=self._forward.window,
            devices=self._forward.devices,
            number=number,
            run=self.run,
            positions=self._positions(layer, q),
            mask=given.get("attn_mask"),
            scale=given.get("scale"),
            options=options,
        )
        return attend_with_all_queries(self.attends[layer.kind], q, k, v, call)
