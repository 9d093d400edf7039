"""Requests of the hub to the CPO, and what is checked of every answer."""

import base64
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final

import httpx

from simulators.ocpi_hub.shapes import instant

Party = tuple[str, str]
TIMEOUT_S: Final = 20.0


class HubComplaint(Exception):
    """The CPO does not do what the hub needs; the words say what, and where."""


@dataclass(frozen=True)
class Call:
    """A request to the CPO. `between` (from, to): None for what is not routed."""

    method: str
    url: str
    token: str
    body: Any = None
    between: tuple[Party, Party] | None = None
    query: dict[str, str] = field(default_factory=dict)

    @property
    def words(self) -> str:
        """The request as complaints name it."""
        return f"{self.method} {self.url}"


@dataclass(frozen=True)
class Reply:
    """What the CPO answered. `envelope` is empty where the body was none."""

    http_status: int
    envelope: dict[str, Any]
    headers: httpx.Headers

    @property
    def data(self) -> Any:
        """What the envelope holds; None without it."""
        return self.envelope.get("data")

    @property
    def ocpi_status(self) -> int | None:
        """None: no envelope."""
        return self.envelope.get("status_code")

    @property
    def is_good(self) -> bool:
        """Taken in both layers."""
        return 200 <= self.http_status < 300 and 1000 <= (self.ocpi_status or 0) < 2000


class Caller:
    """Sends calls; complains of answers that are not as the specification says."""

    def __init__(self, complain: Callable[[str], None], new_id: Callable[[], str]) -> None:
        self._complain, self._new_id = complain, new_id

    async def send(self, call: Call, correlation_id: str | None = None) -> Reply:
        """The answer, checked. Raises: HubComplaint where none came."""
        headers = self._headers(call, correlation_id or self._new_id())
        try:
            async with httpx.AsyncClient(
                timeout=TIMEOUT_S, verify=_tls(), trust_env=False
            ) as client:
                response = await client.request(
                    call.method,
                    call.url,
                    headers=headers,
                    params=httpx.QueryParams(httpx.URL(call.url).query).merge(call.query),
                    json=call.body,
                )
        except httpx.HTTPError as error:
            raise self.complaint(call, f"got no answer: {error or type(error).__name__}") from error
        reply = Reply(response.status_code, _envelope(response), response.headers)
        for words in _wrong(call, headers, reply):
            self._complain(f"answer to {call.words}: {words}")
        return reply

    async def ask(self, call: Call) -> Any:
        """The data of a good answer. Raises: HubComplaint for any other."""
        reply = await self.send(call)
        if not reply.is_good:
            raise self.complaint(call, f"was answered {described(reply)}")
        return reply.data

    def complaint(self, call: Call, words: str) -> HubComplaint:
        """The complaint, noted."""
        self._complain(f"{call.words} {words}")
        return HubComplaint(f"{call.words} {words}")

    def _headers(self, call: Call, correlation_id: str) -> dict[str, str]:
        token = base64.b64encode(call.token.encode()).decode()
        headers = {
            "Authorization": f"Token {token}",
            "X-Request-ID": self._new_id(),
            "X-Correlation-ID": correlation_id,
        }
        if call.between is not None:
            (from_country, from_party), (to_country, to_party) = call.between
            headers |= {
                "OCPI-from-country-code": from_country,
                "OCPI-from-party-id": from_party,
                "OCPI-to-country-code": to_country,
                "OCPI-to-party-id": to_party,
            }
        return headers


@cache
def _tls() -> ssl.SSLContext:
    """Made once: reading the roots of the system takes longer than a call."""
    return ssl.create_default_context()


def described(reply: Reply) -> str:
    """An answer in words."""
    message = reply.envelope.get("status_message")
    said = f", {message}" if message else ""
    return f"HTTP {reply.http_status}, OCPI {reply.ocpi_status}{said}"


def _envelope(response: httpx.Response) -> dict[str, Any]:
    try:
        found = response.json()
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _wrong(call: Call, asked: dict[str, str], reply: Reply) -> list[str]:
    found = []
    if not reply.headers.get("content-type", "").startswith("application/json"):
        found.append(f"Content-Type is {reply.headers.get('content-type')!r}")
    for name in ("X-Request-ID", "X-Correlation-ID"):
        if reply.headers.get(name) != asked[name]:
            found.append(f"{name} is {reply.headers.get(name)!r}, not that of the request")
    found += _wrong_envelope(reply)
    # A token that is not known has no parties, so nothing can be routed back.
    if reply.http_status != 401:
        found += _wrong_route(call, reply)
    return found


def _wrong_envelope(reply: Reply) -> list[str]:
    body = reply.envelope
    if not body:
        return ["the body is no JSON object with status_code and timestamp"]
    found = []
    if type(body.get("status_code")) is not int or not 1000 <= body["status_code"] <= 4999:
        found.append(f"status_code is {body.get('status_code')!r}")
    if instant(body.get("timestamp")) is None:
        found.append(f"timestamp is {body.get('timestamp')!r}")
    if "status_message" in body and not isinstance(body["status_message"], str):
        found.append(f"status_message is {body['status_message']!r}")
    unknown = body.keys() - {"data", "status_code", "status_message", "timestamp"}
    if unknown:
        found.append(f"the envelope has {', '.join(sorted(unknown))}")
    if reply.http_status >= 400 and reply.ocpi_status == 1000:
        found.append(f"HTTP {reply.http_status} with OCPI 1000")
    return found


def _wrong_route(call: Call, reply: Reply) -> list[str]:
    """The way back is the way there turned round; what is not routed has no way."""
    expected: dict[str, str | None] = dict.fromkeys(
        ("ocpi-from-country-code", "ocpi-from-party-id", "ocpi-to-country-code", "ocpi-to-party-id")
    )
    if call.between is not None:
        (to_country, to_party), (from_country, from_party) = call.between
        expected = {
            "ocpi-from-country-code": from_country,
            "ocpi-from-party-id": from_party,
            "ocpi-to-country-code": to_country,
            "ocpi-to-party-id": to_party,
        }
    return [
        f"{name} is {reply.headers.get(name)!r}, not {value!r}"
        for name, value in expected.items()
        if reply.headers.get(name) != value
    ]
