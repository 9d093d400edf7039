"""HTTP to addresses that somebody else names: only where it may go, bounded in time and size.

A station names its responder, a client the address of its machine; either could name anything in
our own network. So only public addresses are asked, or hosts that a setting lists, and the
connection goes to the address that was checked, whatever the name says by then.
"""

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Collection
from typing import Any, Final
from urllib.parse import urlsplit

import httpx

_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")
_UNICAST: Final = ipaddress.ip_network("2000::/3")  # all of the internet's IPv6 (RFC 4291)


class Unusable(Exception):
    """An answer, or a question, that is not to be used; the text says why, for the log."""


class Forbidden(Unusable):
    """An address that is not to be asked, now or later."""


def listed(hosts: str | None) -> frozenset[str]:
    """The hosts of a setting, with commas, as they are compared."""
    return frozenset(part.strip().lower() for part in (hosts or "").split(",") if part.strip())


def is_public(address: str) -> bool:
    """Whether an IP address is one of the internet, whatever form of IPv6 it is wrapped in."""
    ip = ipaddress.ip_address(address.split("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
        if ip not in _UNICAST:  # old and local forms, some of which wrap an IPv4 address too
            return False
    return ip.is_global and not ip.is_multicast


async def allowed_address(url: str, *, hosts: Collection[str] = ()) -> str:
    """The IP address to connect to for a URL: a public one, or that of one of the hosts.

    Raises: Forbidden; OSError when the name leads nowhere; ValueError for a port that is none.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise Forbidden(f"no address to ask at: {url[:200]!r}")
    loop = asyncio.get_running_loop()
    port = parts.port or (443 if parts.scheme == "https" else 80)
    found = await loop.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)
    address = str(found[0][4][0])
    if parts.hostname.lower() not in hosts and not is_public(address):
        raise Forbidden(f"{parts.hostname} is not a public address")
    return address


async def post(
    url: str,
    body: bytes,
    headers: dict[str, str],
    *,
    address: str | None,
    timeout_s: float,
    trust: ssl.SSLContext,
    answer_bytes_max: int,
) -> tuple[int, bytes]:
    """Status and body of the answer. `address`: where to connect to; None: as the name says.

    No redirect is followed. Raises: Unusable for an answer that is too long; httpx.HTTPError.
    """
    parts = httpx.URL(url)
    extensions: dict[str, Any] = {}
    if address is not None:
        headers = headers | {"Host": parts.netloc.decode()}
        extensions["sni_hostname"] = parts.host
        parts = parts.copy_with(host=address)
    async with (
        httpx.AsyncClient(
            timeout=timeout_s, trust_env=False, verify=trust, follow_redirects=False
        ) as client,
        client.stream(
            "POST", parts, content=body, headers=headers, extensions=extensions
        ) as answer,
    ):
        read = b""
        async for part in answer.aiter_raw():
            read += part
            if len(read) > answer_bytes_max:
                raise Unusable(f"{parts.host} answers more than {answer_bytes_max} bytes")
        return answer.status_code, read
