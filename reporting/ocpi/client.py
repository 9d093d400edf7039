"""Requests to partners over OCPI: headers, bounds of time and size, and what an answer means.

Every request carries a name of its own and one of the chain that it belongs to. It goes to the
address that was checked: a public one, or a host that the setting lists. What OCPI says in its
envelope counts beside HTTP: 2xxx is a refusal, 3xxx a partner in trouble, and of the hub's own
4xxx those of a time-out or a broken line mean: later.
"""

import asyncio
import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final
from urllib.parse import quote, urlsplit
from uuid import uuid4

import httpx

from csms import outbound
from csms.config import Settings
from reporting.ocpi.cdrs import Party
from reporting.outlet import Away, Lost, Refused
from reporting.outlet_http import ANSWER_BYTES_MAX, FAILED, UNSENT, told, trust

UNKNOWN_TOKEN: Final = 2004

_LATER: Final = frozenset({408, 425, 429, 503})
_HUB_LATER: Final = frozenset({4002, 4003})


class SaidNo(Refused):
    """A partner refuses by OCPI: `code` is its status code, or that of HTTP where there is none."""

    def __init__(self, code: int, reply: str) -> None:
        super().__init__(reply)
        self.code = code


@dataclass(frozen=True, slots=True)
class Peer:
    """A partner as it is spoken to. `endpoints` by module and role."""

    party: Party
    token: str = field(repr=False)
    endpoints: Mapping[tuple[str, str], str] = field(default_factory=dict)

    def url_of(self, module: str, role: str) -> str | None:
        """Where the partner has a module in a role; None: it has not."""
        return self.endpoints.get((module, role))


class Client:
    """Speaks to partners as `own`. Use as an asynchronous context manager."""

    def __init__(self, settings: Settings, own: Party) -> None:
        self._settings = settings
        self._own = own
        self._hosts = outbound.listed(settings.ocpi_hosts)
        self._http: httpx.AsyncClient | None = None

    async def __aenter__(self) -> "Client":
        trusted = await asyncio.to_thread(trust, self._settings)
        self._http = httpx.AsyncClient(
            timeout=self._settings.ocpi_timeout_s,
            trust_env=False,
            verify=trusted,
            follow_redirects=False,
            headers={"Accept": "application/json", "Accept-Encoding": "identity"},
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._http is not None:
            await self._http.aclose()

    async def call(
        self,
        peer: Peer,
        method: str,
        url: str,
        body: Any = None,
        *,
        is_routed: bool = True,
        correlation_id: str | None = None,
        timeout_s: float | None = None,
    ) -> Any:
        """The `data` of the answer. is_routed False: without the names of sender and receiver, as
        versions and credentials want it.

        Raises: Refused (SaidNo where the partner says why), Away, Lost.
        """
        headers = {
            "Authorization": "Token " + base64.b64encode(peer.token.encode()).decode(),
            "X-Request-ID": str(uuid4()),
            "X-Correlation-ID": correlation_id or str(uuid4()),
        }
        if is_routed:
            headers |= {
                "OCPI-from-country-code": self._own.country_code,
                "OCPI-from-party-id": self._own.party_id,
                "OCPI-to-country-code": peer.party.country_code,
                "OCPI-to-party-id": peer.party.party_id,
            }
        content = None
        if body is not None:
            content = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
            headers["Content-Type"] = "application/json"
        timeout_s = timeout_s or self._settings.ocpi_timeout_s
        try:
            async with asyncio.timeout(timeout_s):
                status, read = await self._exchange(method, url, content, headers)
        except UNSENT as error:
            raise Away(told(error)) from None
        except FAILED as error:
            raise Lost(f"no whole answer: {told(error)}") from None
        return _data(status, read)

    async def _exchange(
        self, method: str, url: str, content: bytes | None, headers: dict[str, str]
    ) -> tuple[int, bytes]:
        """Status and body. Raises: Refused for an address that is not to be asked, Away where its
        name leads nowhere, Lost for an answer that is too long."""
        assert self._http is not None
        extensions: dict[str, Any] = {}
        try:
            parts = httpx.URL(url)
            address = await outbound.allowed_address(url, hosts=self._hosts)
        except (httpx.InvalidURL, ValueError) as error:  # a port or a name that can be none
            raise Refused(f"no address to ask at: {told(error)}") from None
        except outbound.Forbidden as error:
            raise Refused(
                f"{error}; hosts that may be private are listed in T2P_OCPI_HOSTS"
            ) from None
        except OSError as error:
            raise Away(told(error)) from None
        if not (parts.scheme == "https" or (parts.host or "").lower() in self._hosts):
            raise Refused(f"{parts.host} is spoken to over https only")
        headers = headers | {"Host": parts.netloc.decode()}
        extensions["sni_hostname"] = parts.host
        async with self._http.stream(
            method,
            parts.copy_with(host=address),
            content=content,
            headers=headers,
            extensions=extensions,
        ) as answer:
            read = bytearray()
            async for part in answer.aiter_raw():
                read += part
                if len(read) > ANSWER_BYTES_MAX:
                    raise Lost(f"an answer of more than {ANSWER_BYTES_MAX} bytes")
            return answer.status_code, bytes(read)


def join(url: str, *segments: str) -> str:
    """An address with further segments, each quoted."""
    return "/".join([url.rstrip("/"), *(quote(segment, safe="") for segment in segments)])


def same_origin(one: str, other: str) -> bool:
    """Whether two addresses are of one server."""
    first, second = urlsplit(one), urlsplit(other)
    return (first.scheme, first.netloc.lower()) == (second.scheme, second.netloc.lower())


def _data(status: int, read: bytes) -> Any:
    """Raises: Refused, Away, Lost."""
    told = f"{status} {read.decode('utf-8', 'replace')}".strip()
    envelope = _envelope(read)
    code = envelope.get("status_code") if envelope is not None else None
    if status in (401, 403):
        raise Away(f"our token is refused: {told}")
    if status in _LATER:
        raise Away(told)
    if isinstance(code, int):
        if 1000 <= code < 2000 and 200 <= status < 300:
            return (envelope or {}).get("data")
        if 3000 <= code < 4000 or code in _HUB_LATER:
            raise Away(told)
        if 2000 <= code < 5000 and status < 500:
            raise SaidNo(code, told)
    if 400 <= status < 500:
        raise SaidNo(status, told)
    raise Lost(f"not an answer of OCPI: {told}")


def _envelope(read: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(read)
    except (ValueError, RecursionError):  # nested without end
        return None
    return found if isinstance(found, dict) else None
