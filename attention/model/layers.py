"""The attention modules of a model, found by their names."""

import re
from collections import Counter
from dataclasses import dataclass

from torch import nn

from genkit.attention.calls.call import Kind
from genkit.attention.facts.model_facts import ModelFacts


@dataclass(frozen=True)
class Layer:
    """Attention module of a model."""

    component: str
    name: str
    kind: Kind
    depth: int
    module: nn.Module


def layers_of(component: str, model: nn.Module, facts: ModelFacts) -> list[Layer]:
    """Return the attention modules of ``model`` that its facts name, in order."""
    depth: dict[Kind, int] = {}
    found = []
    for name, module in model.named_modules():
        kind = facts.kind_of(name)
        if kind is not None:
            found.append(Layer(component, name, kind, depth.setdefault(kind, 0), module))
            depth[kind] += 1
    return found


def left_dense(model: nn.Module, facts: ModelFacts) -> Counter[str]:
    """Return the number of modules that attend to the video and stay as they are, by reason."""
    names = [name for name, _ in model.named_modules()]
    return Counter(reason for pattern, reason in facts.dense.items() for name in names if re.fullmatch(pattern, name))


def module_at(model: nn.Module, name: str) -> nn.Module | None:
    """Return the module of that name; None if there is none."""
    try:
        return model.get_submodule(name)
    except AttributeError:
        return None
