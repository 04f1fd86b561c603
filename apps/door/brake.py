"""Rate limit on wrong passwords, with bounded memory."""

import ipaddress
import math
import secrets
import time
from collections import OrderedDict

FREE_TRIES = 5
"""Wrong passwords before waiting is required."""
MAX_WAIT = 60.0
"""Longest wait in seconds, so that nobody is locked out for good; the wait doubles up to this."""
FORGET_AFTER = 900.0
"""Seconds without a try after which an address starts from zero."""
MAX_ADDRESSES = 1024
"""Addresses that are remembered; beyond that the oldest is dropped."""


class Brake:
    """Counts tries per address; a try is counted before it is checked, so that concurrent tries gain nothing."""

    def __init__(self) -> None:
        self._tries: OrderedDict[str, tuple[int, float, float]] = OrderedDict()
        self._known: OrderedDict[str, None] = OrderedDict()

    def wait(self, key: str) -> int:
        """Return the seconds until the next try is allowed; 0 allows and counts this one."""
        now = time.monotonic()
        count, free_at, last = self._tries.get(key, (0, 0.0, now))
        if now - last > FORGET_AFTER:
            count, free_at = 0, 0.0
        if now < free_at:
            return math.ceil(free_at - now)
        count += 1
        pause = 0.0 if count < FREE_TRIES else min(2.0 ** (count - FREE_TRIES), MAX_WAIT)
        self._tries[key] = (min(count, 100), now + pause, now)
        self._tries.move_to_end(key)
        while len(self._tries) > MAX_ADDRESSES:
            self._tries.popitem(last=False)
        return 0

    def right(self, key: str) -> None:
        """Uncount a correct try; earlier wrong ones still count, or guesses between correct tries would be free."""
        count, _, last = self._tries.get(key, (1, 0.0, 0.0))
        if count <= 1:
            self._tries.pop(key, None)
        else:
            self._tries[key] = (count - 1, 0.0, last)

    def remember(self) -> str:
        """Return a token for a browser that gave the right password: its tries are counted apart from its address."""
        word = secrets.token_urlsafe(24)
        self._known[word] = None
        while len(self._known) > MAX_ADDRESSES:
            self._known.popitem(last=False)
        return word

    def key(self, address: str | None, word: str | None) -> str:
        """Return the key that tries are counted by: a known browser, else the address (for IPv6 its network)."""
        if word is not None and word in self._known:
            return f"known {word}"
        return network_of(address or "")


def network_of(address: str) -> str:
    """Return the address as one person has it: for IPv6 the /64 network, which all belongs to one person."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv6Address):
        return str(found.ipv4_mapped or ipaddress.ip_network((found, 64), strict=False))
    return str(found)
