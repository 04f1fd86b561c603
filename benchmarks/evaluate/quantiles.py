"""Quantiles of the beta distribution and of Student's t with real parameters.

Source: the continued fraction of the incomplete beta function, DLMF 8.17.22, evaluated as Lentz does.
"""

import math
from functools import lru_cache

TINY, NEAR, MAX_TERMS = 1e-300, 1e-14, 20_000
HALVINGS = 1100
"""Maximum of a bisection between 0 and 1: as many as there are powers of two."""


def beta_share(x: float, a: float, b: float) -> float:
    """Return the share of a beta distribution below ``x``: the regularised incomplete beta function, ``a, b > 0``."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):
        return 1 - beta_share(1 - x, b, a)
    front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    return math.exp(front) / (a * _fraction(x, a, b))


def _fraction(x: float, a: float, b: float) -> float:
    """Compute the continued fraction ``1 + d1/(1 + d2/(1 + ...))`` by Lentz's method."""
    c, d, found = 1.0, 0.0, 1.0
    for number in range(1, MAX_TERMS):
        m, odd = divmod(number, 2)
        if odd:
            step = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        else:
            step = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        d = 1 / _avoid_zero(1 + step * d)
        c = _avoid_zero(1 + step / c)
        found *= c * d
        if abs(c * d - 1) < NEAR:
            break
    return found


def _avoid_zero(value: float) -> float:
    return value if abs(value) > TINY else TINY


@lru_cache(maxsize=4096)
def beta_quantile(share: float, a: float, b: float) -> float:
    """Return the value with ``share`` of a beta distribution below it; ``a`` or ``b`` of 0 puts all of it on 0 or 1."""
    if a <= 0 or b <= 0:
        return float(a > 0)
    low, high = 0.0, 1.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        low, high = (middle, high) if beta_share(middle, a, b) < share else (low, middle)
    return high


def student_quantile(outside: float, freedom: float) -> float:
    """Return the distance from 0 beyond which a share ``outside`` of Student's distribution is, both sides together."""
    x = beta_quantile(outside, freedom / 2, 0.5)
    return math.sqrt(freedom * (1 - x) / x) if x > 0 else math.inf
