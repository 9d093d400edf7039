"""Where a request comes from, as far as it can be believed.

The address is the socket's, unless that is one of the trusted proxies: then it is the last one in
X-Forwarded-For that is none of them. Whatever stands before it in the header, anybody may have
written. X-Forwarded-Proto is believed from the same proxies only.
"""

import ipaddress

from starlette.types import Scope

from csms.config import Settings, networks
from csms.logins import Caller

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


class Proxies:
    """The proxies that are believed."""

    def __init__(self, settings: Settings) -> None:
        self._networks = networks(settings.trusted_proxies)

    def see(self, scope: Scope, device: str | None) -> tuple[Caller, bool]:
        """Whose request it is, and whether it came by https."""
        address = scope["client"][0] if scope.get("client") else ""
        https = scope.get("scheme") == "https"
        if self._trusts(address):
            if has_header(scope, b"x-forwarded-proto"):
                https = header(scope, b"x-forwarded-proto").rpartition(",")[2].strip() == "https"
            address = self._forwarded(scope, address)
        return Caller(address, header(scope, b"user-agent"), device), https

    def _trusts(self, address: str) -> bool:
        parsed = _parsed(address)
        return parsed is not None and any(
            parsed in network for network in self._networks if network.version == parsed.version
        )

    def _forwarded(self, scope: Scope, address: str) -> str:
        for part in reversed(header(scope, b"x-forwarded-for").split(",")):
            parsed = _parsed(part.strip())
            if parsed is None:
                return address
            address = str(parsed)
            if not self._trusts(address):
                return address
        return address


def header(scope: Scope, name: bytes) -> str:
    """All values of a header, with commas; '' without one."""
    values = [value for found, value in scope["headers"] if found == name]
    return b",".join(values).decode("latin-1")


def has_header(scope: Scope, name: bytes) -> bool:
    """Whether the header is there at all."""
    return any(found == name for found, _ in scope["headers"])


def is_same_origin(scope: Scope, public_url: str | None) -> bool:
    """Whether a browser sent this from a page of ours, as it says itself; true for what is no
    browser, which sends neither of the two headers. A proxy may ask us by another name than people
    ask it: `public_url` is theirs."""
    site = header(scope, b"sec-fetch-site")
    if site:
        return site in ("same-origin", "none")
    origin = header(scope, b"origin")
    if not origin:
        return True
    if public_url is not None and origin == "/".join(public_url.split("/")[:3]):
        return True
    _, separator, host = origin.partition("://")
    return bool(separator) and host == header(scope, b"host")


def is_local(target: str) -> bool:
    """Whether a redirect to this target stays here: a path, with nothing that a browser might read
    as another host."""
    return (
        target.startswith("/")
        and not target.startswith("//")
        and "\\" not in target
        and target.isprintable()
        and " " not in target
        and len(target) <= 2_000
    )


def _parsed(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """An address, also with a port behind it, or as IPv6 in brackets; an IPv4 address as such."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        parsed = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
        return parsed.ipv4_mapped
    return parsed
