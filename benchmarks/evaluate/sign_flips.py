"""Test of whether differences between two runs exceed chance: the signs of whole prompts flipped, all measures at once.

If two methods do not differ, each prompt could as well have them exchanged, in all of its measures together. So all
sign patterns are tried, and a measure's chance is the share of patterns in which the largest of all measures reaches
it. The chance that even one of the measures is called different when none is stays below the level, however many
there are and however they correlate. Source: P. H. Westfall, S. S. Young, Resampling-Based Multiple Testing (1993).
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

LEVEL = 0.05
"""Maximum chance that a verdict is wrong, all measures of a comparison together."""
EXACT = 14
"""Maximum number of prompts for which all flips are tried; beyond it ``FLIPS`` random ones."""
FLIPS = 9_999
MIN_PAIRS = 6
"""With fewer even equal signs everywhere are not rarer than ``LEVEL``: 2 of 2**5."""

Changes = Mapping[str, float]
"""Change of each prompt in one measure; prompts without the measure are left out."""


def chances(changes: Mapping[str, Changes]) -> dict[str, float]:
    """Compute each measure's probability by chance, corrected for the number of measures (step-down max-T)."""
    prompts = sorted({prompt for found in changes.values() for prompt in found})
    if not prompts:
        return dict.fromkeys(changes, 1.0)
    names = list(changes)
    table = np.array([_normalise([changes[name].get(prompt, 0.0) for prompt in prompts]) for name in names])
    seen, flipped = np.abs(table.sum(1)), np.abs(_signs(len(prompts)) @ table.T)
    order = np.argsort(-seen, kind="stable")
    largest = np.maximum.accumulate(flipped[:, order[::-1]], axis=1)[:, ::-1]
    shares = (largest >= seen[order] - 1e-9).mean(0)
    found = np.empty(len(names))
    found[order] = np.maximum.accumulate(shares)
    return dict(zip(names, found.tolist(), strict=True))


def _normalise(values: Sequence[float]) -> NDArray[np.float64]:
    """Scale to length 1, which no flip changes, so that measures of any unit are comparable."""
    row: NDArray[np.float64] = np.array(values)
    size = float(np.abs(row).max())
    return row / size / float(np.linalg.norm(row / size)) if size else row


def _signs(count: int) -> NDArray[np.float64]:
    """Return rows of 1 and -1, ``[flips, count]``; the first is the observed one. Turning all signs changes nothing."""
    if count <= EXACT:
        numbers = np.arange(2 ** (count - 1))[:, None]
        return np.asarray(1.0 - 2.0 * ((numbers >> np.arange(count)) & 1), np.float64)
    drawn = np.random.default_rng(0).integers(2, size=(FLIPS, count))
    return np.concatenate([np.ones((1, count)), 1.0 - 2.0 * drawn])
