"""How a station reaches the central system: from what it was delivered with, to an open socket."""

import base64
from dataclasses import dataclass, replace
from ssl import SSLContext
from typing import Any
from urllib.parse import quote

from websockets.asyncio.client import connect

from simulators import tls
from simulators.access import Access
from simulators.station import Station


@dataclass(frozen=True, kw_only=True)
class DriverConfig:
    """How a driver behaves towards the central system at `url` (without the identity)."""

    url: str
    secure_url: str | None = None  # of wss, for a station that is told to take a higher profile
    password: str | None = None  # HTTP basic authentication, the identity is the user
    ssl: SSLContext | None = None  # None with wss: the system's certificates
    call_timeout_s: float = 30.0
    backoff_min_s: float = 0.2
    backoff_max_s: float = 30.0
    resend_same_id: bool = True  # an unanswered message keeps its id when sent again
    heartbeats: bool = True
    offer_subprotocol: bool = True
    plain: bool = False  # frames without the package in between: faster, never validated
    validate: bool = True  # by the package's schemas, where the station's faults allow it

    def with_password(self, password: str | None) -> "DriverConfig":
        """The same, for a station with its own password."""
        return replace(self, password=password)


def deliver(station: Station, config: DriverConfig) -> None:
    """Tell a station how it connects before any order changes that."""
    profile = station.config.security_profile
    if not profile:
        given = 0 if config.password is None else 1
        profile = 2 if config.url.startswith("wss:") else given
    if profile != station.access.security_profile:
        station.access = Access(profile)
    station.knows_a_password = config.password is not None
    station.knows_a_root = config.ssl is not None


def opening(station: Station, config: DriverConfig) -> connect:
    """The connection as the station wants it now.

    Raises: OSError when it has to use TLS and no address is known for that.
    """
    way, identity = station.access.way, station.config.identity
    url = way.url or config.url
    if way.has_tls and not url.startswith("wss:"):
        if config.secure_url is None:
            raise OSError("the station has to use TLS, and has no address for that")
        url = config.secure_url
    protocol: Any = station.config.protocol
    secure = url.startswith("wss:")
    client = way.security_profile == 3
    return connect(
        f"{url.rstrip('/')}/{quote(identity, safe='')}",
        subprotocols=[protocol] if config.offer_subprotocol else None,
        additional_headers=_authorization(station, config) if way.has_password else {},
        compression=None,
        ssl=tls.context(config.ssl, station.certificates, client=client) if secure else None,
        open_timeout=config.call_timeout_s,
        ping_interval=None,
        close_timeout=1,
        proxy=None,
    )


def _authorization(station: Station, config: DriverConfig) -> dict[str, str]:
    """The header that shows the password, as it was ordered or as it was delivered."""
    ordered, delivered = station.access.password, config.password
    if ordered is not None and station.faults.hex_password:
        secret = bytes.fromhex(ordered)
    elif ordered is None and delivered is None:
        return {}
    else:
        secret = (ordered or delivered or "").encode()
    pair = station.config.identity.encode() + b":" + secret
    return {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}
