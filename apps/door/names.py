"""Names that the page answers to, and other pages that may talk to it.

A stranger's page can make a browser send requests to any address. Its name is then in ``Host`` (a name of its own that
resolves to this machine) or in ``Origin``, and it can forge neither.
"""

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass

from genkit.errors import UsageError

LOCAL = ("localhost", "127.0.0.1", "::1")
ANY = ("0.0.0.0", "::")
"""Addresses that stand for all addresses of a machine."""
USUAL_PORTS = {"http": 80, "https": 443}
_HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(?::([0-9]{1,5}))?")
_ORIGIN = re.compile(r"(https?)://(.+)")


@dataclass(frozen=True)
class Place:
    """Host name or address, normalised, and a port."""

    name: str
    port: int | None
    """None is the default port of the scheme."""


def place_of(text: str) -> Place | None:
    """Parse a ``Host`` header; None if it is malformed."""
    found = _HOST.fullmatch(text)
    if found is None:
        return None
    name = normalize(found[1])
    return None if name is None else Place(name, int(found[2]) if found[2] else None)


def origin_of(text: str) -> Place | None:
    """Parse an ``Origin`` header; None for ``null`` and anything else that is not the address of a page."""
    found = _ORIGIN.fullmatch(text)
    place = place_of(found[2]) if found else None
    if found is None or place is None:
        return None
    return Place(place.name, None if place.port == USUAL_PORTS[found[1]] else place.port)


def normalize(name: str) -> str | None:
    """Return the normalised spelling of a name or an address; None if it is neither."""
    bare = name[1:-1] if name.startswith("[") else name
    try:
        address = ipaddress.ip_address(bare)
    except ValueError:
        bare = bare.lower().removesuffix(".")
        return bare if bare and "[" not in name and not bare.startswith(".") else None
    inner = getattr(address, "ipv4_mapped", None)
    return str(inner or address)


class Names:
    """Names of one page."""

    def __init__(self, host: str, allowed: Iterable[str] = ()) -> None:
        """``host`` is the address it listens on; ``allowed`` are additional names, each with or without a port.

        Raises:
            UsageError: one of them is not a name.
        """
        places = {name: place_of(name) for name in allowed}
        for name, place in places.items():
            if place is None:
                raise UsageError(
                    f"--allow-host {name!r} is not the name of a machine; give one as it appears in the address of the "
                    "page, such as videos.example.org or 192.168.1.5:7860, without http:// and without a path"
                )
        self.allowed = {place for place in places.values() if place}
        own = normalize(host)
        self.any = own is None or own in ANY
        self.names = {*LOCAL, *(() if self.any else (own,)), *(place.name for place in self.allowed)}

    def answers(self, host: str, server: str | None) -> Place | None:
        """Parse ``host`` if the page goes by that name; else return None.

        Args:
            server: the address of this machine that the request came to. A page that listens on all addresses goes by
                each, since a stranger's name is never an address.
        """
        place = place_of(host)
        here = normalize(server) if server and self.any else None
        return place if place and (place.name in self.names or (here and place.name == here)) else None

    def may_speak(self, origin: str, host: Place) -> bool:
        """Return True if a request from a page at ``origin`` may be answered, because it is this page.

        A proxy may have put another name into ``Host``, so the page at an allowed name also counts as this page.
        """
        place = origin_of(origin)
        if place is None:
            return False
        same = place.name == host.name and place.port == (None if host.port in USUAL_PORTS.values() else host.port)
        return same or place in self.allowed
