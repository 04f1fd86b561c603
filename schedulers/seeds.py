"""Seeds: valid values, and the generator of each."""

import operator
import random
import secrets
import struct
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

LARGEST = 2**64 - 1
"""The maximum seed."""
DRAWN_BELOW = 2**31
"""Upper limit of random seeds, so that other tools accept them as well."""
_NARROW = 2**32
_WORDS, _BEGIN = 624, 24
"""Words of the Mersenne Twister, 8 bytes each in the state of torch's generator, and the offset of the first."""


def check_seed(seed: Any) -> int | None:
    """Return the seed as an int; None for None and -1, which ask for a random one.

    Raises:
        ValueError: it is not a whole number from -1 to 2**64 - 1; texts, bools and floats are refused.
    """
    if seed is None:
        return None
    try:
        number = operator.index(seed)
    except TypeError:
        number = None
    if number is None or isinstance(seed, bool) or not -1 <= number <= LARGEST:
        raise ValueError(f"seed={seed!r} must be a whole number from 0 to 2**64 - 1, or -1 to draw one")
    return None if number == -1 else number


def draw_seed(seed: Any) -> int:
    """Return the seed as an int, or a random one for None and -1; raise as ``check_seed``."""
    number = check_seed(seed)
    return secrets.randbelow(DRAWN_BELOW) if number is None else number


def generator_of(seed: int) -> "torch.Generator":
    """Return a CPU generator that differs for any two seeds of 64 bits.

    torch seeds its CPU generator with the low 32 bits alone. Seeds below 2**32 are left to it; above, the state is that
    of the Mersenne Twister's ``init_by_array`` with both halves as its key, as in Python's own ``random``.

    Source: Matsumoto and Nishimura, mt19937ar.c (2002).
    """
    import torch

    generator = torch.Generator("cpu").manual_seed(seed)
    if seed < _NARROW:
        return generator
    state = bytearray(generator.get_state().numpy().tobytes())
    first = struct.unpack_from("<Q", state, _BEGIN)[0]
    if first != seed % _NARROW:
        raise RuntimeError(f"torch {torch.__version__} stores its generator's state in an unknown form; use another")
    words = random.Random(seed).getstate()[1][:_WORDS]
    struct.pack_into(f"<{_WORDS}Q", state, _BEGIN, *words)
    generator.set_state(torch.frombuffer(state, dtype=torch.uint8))
    return generator
