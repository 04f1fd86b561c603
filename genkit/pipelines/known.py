"""All pipelines that something is known of: those of diffusers, and those that other packages register."""

from importlib.metadata import entry_points

from genkit.attention.facts.known import register_model
from genkit.attention.facts.model_facts import ModelFacts
from genkit.errors import UsageError, first_line
from genkit.pipelines.families import (
    allegro_latte_easyanimate,
    cogvideox,
    cosmos,
    helios,
    hunyuan,
    kandinsky_motif,
    ltx,
    minimax_mochi,
    sana,
    skyreels,
    unets,
    wan,
    wan_kin,
)
from genkit.pipelines.pipeline_facts import PipelineFacts, Published

GROUP = "genkit.facts"
"""Entry point group of other packages' facts: each value is one of them or a tuple of them."""
OURS: tuple[PipelineFacts, ...] = (
    *wan.FAMILIES,
    *wan_kin.FAMILIES,
    *skyreels.FAMILIES,
    *helios.FAMILIES,
    *hunyuan.FAMILIES,
    *cogvideox.FAMILIES,
    *ltx.FAMILIES,
    *minimax_mochi.FAMILIES,
    *kandinsky_motif.FAMILIES,
    *allegro_latte_easyanimate.FAMILIES,
    *cosmos.FAMILIES,
    *sana.FAMILIES,
    *unets.FAMILIES,
)
_REGISTERED: dict[str, PipelineFacts] = {facts.name: facts for facts in OURS}
_LOADED: set[str] = set()


def register(facts: ModelFacts | PipelineFacts, *, replace: bool = False) -> None:
    """Make a family of models or pipelines known, for as long as the process lives.

    A package that is installed does the same by an entry point of the group ``genkit.facts``.

    Args:
        facts: of a model class, or of the pipelines that run it.
        replace: put them in the place of those that are known under the same class or name.

    Raises:
        UsageError: the class or name is known already with other facts, and ``replace`` is False.
    """
    try:
        if isinstance(facts, ModelFacts):
            register_model(facts, replace=replace)
        elif isinstance(facts, PipelineFacts):
            _register_pipeline(facts, replace)
        else:
            raise ValueError(f"{facts!r} is neither ModelFacts nor PipelineFacts; register one of those")
    except ValueError as error:
        raise UsageError(str(error)) from None


def _register_pipeline(facts: PipelineFacts, replace: bool) -> None:
    if _REGISTERED.get(facts.name, facts) != facts and not replace:
        raise ValueError(f"the pipeline family {facts.name!r} is known already; pass replace=True, or another name")
    _REGISTERED[facts.name] = facts


def pipelines() -> tuple[PipelineFacts, ...]:
    """Return the facts of every family of pipelines, those of other installed packages included.

    Raises:
        UsageError: another package's facts cannot be loaded; the message names the package.
    """
    for entry in entry_points(group=GROUP):
        if entry.value not in _LOADED:
            _LOADED.add(entry.value)
            owner = entry.dist.name if entry.dist else "unknown"
            try:
                found = entry.load()
                for facts in found if isinstance(found, tuple | list) else (found,):
                    register(facts)
            except Exception as error:
                _LOADED.discard(entry.value)
                raise UsageError(
                    f"the facts {entry.name!r} of the package {owner} cannot be loaded ({type(error).__name__}: "
                    f"{first_line(error)}); update or uninstall it"
                ) from error
    return tuple(_REGISTERED.values())


def checkpoints() -> tuple[Published, ...]:
    """Return all checkpoints that were published, in the order of the families, each once."""
    found: list[Published] = []
    for one in (one for facts in pipelines() for one in facts.published):
        if all(one is not other for other in found):
            found.append(one)
    return tuple(found)
