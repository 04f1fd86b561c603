"""A brake on wrong passwords that forgets, and that cannot be made to remember more and more."""

import ipaddress
import math
import secrets
import time
from collections import OrderedDict

FREE = 5
"""Wrong passwords before anyone has to wait."""
LONGEST = 60.0
"""Seconds to wait at most, so that nobody is locked out for ever; the wait doubles up to this."""
FORGOTTEN = 900.0
"""Seconds after which all is forgiven."""
MOST = 1024
"""Addresses that are remembered; then the oldest is forgotten."""


class Brake:
    """Counts the tries from each address; a try counts before it is judged, so that many at once gain nothing."""

    def __init__(self) -> None:
        self._tries: OrderedDict[str, tuple[int, float, float]] = OrderedDict()
        self._known: OrderedDict[str, None] = OrderedDict()

    def wait(self, key: str) -> int:
        """Seconds until the next try from there is looked at; 0 where this one is, which it then has used up."""
        now = time.monotonic()
        count, free_at, last = self._tries.get(key, (0, 0.0, now))
        if now - last > FORGOTTEN:
            count, free_at = 0, 0.0
        if now < free_at:
            return math.ceil(free_at - now)
        count += 1
        pause = 0.0 if count < FREE else min(2.0 ** (count - FREE), LONGEST)
        self._tries[key] = (min(count, 100), now + pause, now)
        self._tries.move_to_end(key)
        while len(self._tries) > MOST:
            self._tries.popitem(last=False)
        return 0

    def right(self, key: str) -> None:
        """A try was right and does not count; wrong ones before it still do, or guesses would be free between them."""
        count, _, last = self._tries.get(key, (1, 0.0, 0.0))
        if count <= 1:
            self._tries.pop(key, None)
        else:
            self._tries[key] = (count - 1, 0.0, last)

    def remember(self) -> str:
        """A word for a browser that gave the right password: its tries count apart from those of its address."""
        word = secrets.token_urlsafe(24)
        self._known[word] = None
        while len(self._known) > MOST:
            self._known.popitem(last=False)
        return word

    def key(self, address: str | None, word: str | None) -> str:
        """What tries are counted by: a browser that is known, else its address, else its whole IPv6 network."""
        if word is not None and word in self._known:
            return f"known {word}"
        return network_of(address or "")


def network_of(address: str) -> str:
    """An address as one person may have it: of IPv6 the whole network, because everyone has as many as they like."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv6Address):
        return str(found.ipv4_mapped or ipaddress.ip_network((found, 64), strict=False))
    return str(found)
