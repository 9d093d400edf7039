"""What a CPO may ask of the hub, what is checked of every request, and how it is answered."""

import asyncio
import base64
import binascii
import json
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from datetime import datetime
from typing import Any, Final, Protocol

from simulators.ocpi_hub.calling import Party
from simulators.ocpi_hub.held import RFID, Document, Held, Key, Refusal
from simulators.ocpi_hub.link import VERSION, Link
from simulators.ocpi_hub.shapes import problems
from simulators.ocpi_hub.wire import Answer, Received

FOR_EVER_S: Final = 3600.0
VERSIONS_PATH: Final = "/ocpi/versions"
#: Not beside the versions, so that an address that is put together instead of read leads nowhere.
BASE_PATH: Final = f"/ocpi/iop/{VERSION}"
MODULES: Final = {
    "credentials": "SENDER",  # which is to be disregarded
    "locations": "RECEIVER",
    "sessions": "RECEIVER",
    "cdrs": "RECEIVER",
    "tariffs": "RECEIVER",
    "tokens": "SENDER",
    "commands": "SENDER",
}
_METHODS: Final = {
    "credentials": ("GET", "POST", "PUT", "DELETE"),
    "locations": ("GET", "PUT", "PATCH"),
    "sessions": ("GET", "PUT", "PATCH"),
    "tariffs": ("GET", "PUT", "DELETE"),
    "cdrs": ("GET", "POST"),
    "tokens": ("GET", "POST"),
    "commands": ("POST",),
}
_ROUTE: Final = tuple(
    f"ocpi-{way}-{what}" for way in ("from", "to") for what in ("country-code", "party-id")
)
_HTML: Final = "<html><body><h1>It works!</h1></body></html>"


class Partners(Protocol):
    """The mobility providers behind the hub, and the commands under way."""

    def parties(self) -> set[Party]:
        """Who they are."""

    def authorize(self, uid: str, kind: str, place: Document) -> Document | None:
        """An AuthorizationInfo; None for a token that nobody knows."""

    def settle(self, command: str, uid: str, result: Document) -> str | None:
        """Take the result of a command; the complaint where there is one."""


class Receiver:
    """Answers the requests of the CPO. `slow_s`: how long the fault of that name takes;
    `answer_after_s`: how long every answer takes."""

    def __init__(
        self,
        party: Party,
        link: Link,
        held: Held,
        partners: Partners,
        clock: Callable[[], datetime],
        base_url: Callable[[], str],
    ) -> None:
        self.received: list[Received] = []
        self.complaints: list[str] = []
        self.slow_s, self.answer_after_s = 0.5, 0.0
        self._party, self._link, self._held, self._partners = party, link, held, partners
        self._clock, self._base_url = clock, base_url
        self._seen: set[str] = set()
        self._records: dict[str, Key] = {}  # CDRs by the end of their address
        self._under_way: Counter[str] = Counter()

    async def handle(self, received: Received, content: bytes, fault: str | None) -> Answer | None:
        """The answer; None: the connection ends without one."""
        self.received.append(received)
        received.body = _document(content)
        complain = self._complainer(received)
        with self._alone(received, complain):
            answer = await self._with_fault(received, content, fault, complain)
            await asyncio.sleep(self.answer_after_s)
            if fault == "timeout":
                await asyncio.sleep(FOR_EVER_S)
            if fault == "slow":
                await asyncio.sleep(self.slow_s)
        return None if fault in ("lost", "refuse") else answer

    def _complainer(self, received: Received) -> Callable[[str], None]:
        return lambda words: self.complaints.append(f"{received.words}: {words}")

    @contextmanager
    def _alone(self, received: Received, complain: Callable[[str], None]) -> Iterator[None]:
        """While it is answered; two tellings of one object at the same time may overtake."""
        named = _object_of(received)
        if named is None:
            yield
            return
        if self._under_way[named]:
            complain("the request before, of the same object, is not answered yet")
        self._under_way[named] += 1
        try:
            yield
        finally:
            self._under_way[named] -= 1

    async def _with_fault(
        self, received: Received, content: bytes, fault: str | None, complain: Callable[[str], None]
    ) -> Answer:
        self._check_ids(received, complain)
        early = {
            "500": Answer(500, self._envelope(3000, "a fault in the hub")),
            "503": Answer(503, "<html><body>Service unavailable</body></html>"),
            "html": Answer(200, _HTML),
            "ocpi3000": Answer(200, self._envelope(3000, "a fault in the hub")),
            "ocpi2001": Answer(200, self._envelope(2001, "a fault: the hub finds it wrong")),
        }
        if fault in early:
            return early[fault]
        if fault in ("timeout", "refuse"):
            return early["500"]  # of which nothing is seen
        noted = len(self.complaints)
        try:
            answer = await self._answered(received, content, complain)
        except Refusal as refusal:
            # Not to know something is no fault of who asked; any other refusal is said.
            if refusal.http_status != 404 and len(self.complaints) == noted:
                complain(refusal.words)
            envelope = self._envelope(refusal.ocpi_status, refusal.words)
            answer = Answer(refusal.http_status, envelope)
        answer.headers |= _echo(received) | _way_back(received)
        return answer

    def _envelope(self, status: int, message: str | None = None, data: Any = None) -> Document:
        found: Document = {
            "status_code": status,
            "timestamp": f"{self._clock():%Y-%m-%dT%H:%M:%S}Z",
        }
        if data is not None:
            found["data"] = data
        if message is not None:
            found["status_message"] = message
        return found

    def _good(self, data: Any = None, http_status: int = 200) -> Answer:
        return Answer(http_status, self._envelope(1000, data=data))

    # What is checked of every request.

    def _check_ids(self, received: Received, complain: Callable[[str], None]) -> None:
        for name in ("X-Request-ID", "X-Correlation-ID"):
            value = received.headers.get(name)
            if value is None:
                complain(f"{name} is missing")
            elif not _is_uuid(value):
                complain(f"{name} is {value!r}, no UUID")
        number = received.headers.get("x-request-id")
        if number is not None and number in self._seen:
            complain(f"X-Request-ID {number} was used before")
        if number is not None:
            self._seen.add(number)

    def _check_token(
        self, received: Received, complain: Callable[[str], None], *, functional: bool
    ) -> str:
        """The credentials token. Raises: Refusal, 401."""
        token = self._token(received, complain)
        link = self._link
        if token == link.ours and token is not None:
            return token
        if token in link.pending | link.invited and token is not None:
            if not functional:
                return token
            complain("a token of a handshake opens credentials and versions only")
        else:
            complain("the credentials token is not known")
        raise Refusal(2000, "the credentials token is not known", 401)

    def _token(self, received: Received, complain: Callable[[str], None]) -> str | None:
        kind, _, text = received.headers.get("authorization", "").partition(" ")
        if kind != "Token":
            complain("the Authorization is not as: Token <credentials token in base 64>")
            return None
        if text in {self._link.ours, *self._link.pending, *self._link.invited}:
            complain("the credentials token is not encoded in base 64")
            return None
        try:
            return base64.b64decode(text, validate=True).decode("ascii")
        except (binascii.Error, UnicodeDecodeError, ValueError):
            complain("the credentials token is not encoded in base 64")
            return None

    def _check_route(self, received: Received, complain: Callable[[str], None]) -> Party:
        """Who asks. Raises: Refusal where the way is not told, or leads elsewhere."""
        missing = [name for name in _ROUTE if not received.headers.get(name)]
        if missing:
            complain(f"{', '.join(missing)} missing")
            raise Refusal(2001, f"{', '.join(missing)} missing")
        values = [received.headers[name].upper() for name in _ROUTE]
        asking, asked = (values[0], values[1]), (values[2], values[3])
        if asking not in self._link.parties:
            complain(f"OCPI-from is {'*'.join(asking)}, no CPO of the credentials")
            raise Refusal(2001, f"{'*'.join(asking)} is not of this connection")
        if asked != self._party and asked not in self._partners.parties():
            complain(f"OCPI-to is {'*'.join(asked)}, neither the hub nor a partner")
            raise Refusal(4001, f"{'*'.join(asked)} is not known")
        return asking

    def _check_body(
        self, received: Received, content: bytes, complain: Callable[[str], None]
    ) -> None:
        if not content:
            if received.method in ("PUT", "PATCH"):
                raise Refusal(2001, "the body is missing", 400)
            return
        kind = received.headers.get("content-type", "")
        if kind.partition(";")[0].strip().lower() != "application/json":
            complain(f"Content-Type is {kind!r}, not application/json")
        if received.body is None:
            raise Refusal(2001, "the body is no JSON", 400)

    # Where it goes.

    async def _answered(
        self, received: Received, content: bytes, complain: Callable[[str], None]
    ) -> Answer:
        path = received.path.rstrip("/")
        parts = path.removeprefix(BASE_PATH).strip("/").split("/")
        is_ours = path.startswith(f"{BASE_PATH}/") and parts[0] in MODULES
        functional = is_ours and parts[0] != "credentials"
        if functional:
            # The CPO may be faster with its first telling than its answer to the handshake is.
            await self._link.settle()
        token = self._check_token(received, complain, functional=functional)
        self._check_body(received, content, complain)
        if not is_ours:
            return self._versions(received, path, token, complain)
        module = parts.pop(0)
        if received.method not in _METHODS[module]:
            complain(f"{module} has no {received.method}")
            raise Refusal(2000, f"{module} has no {received.method}", 405)
        if module == "credentials":
            self._check_unrouted(received, complain)
            return await self._credentials(received, token)
        asking = self._check_route(received, complain)
        return self._functional(module, received, parts, asking, complain)

    def _check_unrouted(self, received: Received, complain: Callable[[str], None]) -> None:
        if any(name in received.headers for name in _ROUTE):
            complain("OCPI-from and OCPI-to are not used with credentials and versions")

    def _versions(
        self, received: Received, path: str, token: str, complain: Callable[[str], None]
    ) -> Answer:
        self._check_unrouted(received, complain)
        pages = {VERSIONS_PATH: "versions", BASE_PATH: "details"}
        if path not in pages:
            complain("there is nothing at this address; addresses are read from the versions")
            raise Refusal(2000, "there is nothing at this address", 404)
        if received.method != "GET":
            raise Refusal(2000, "read only", 405)
        if token in self._link.pending:
            self._link.visits.append(pages[path])
        base = self._base_url()
        if path == VERSIONS_PATH:
            older = {"version": "2.1.1", "url": f"{base}/ocpi/iop/2.1.1"}
            return self._good([older, {"version": VERSION, "url": base + BASE_PATH}])
        endpoints = [
            {"identifier": module, "role": role, "url": f"{base}{BASE_PATH}/{module}"}
            for module, role in MODULES.items()
        ]
        return self._good({"version": VERSION, "endpoints": endpoints})

    async def _credentials(self, received: Received, token: str) -> Answer:
        is_registered = token == self._link.ours
        if received.method == "GET":
            return self._good(self._link.credentials(token))
        if received.method == "POST":
            if is_registered or self._link.ours is not None:
                raise Refusal(2000, "registered already", 405)
            return self._good(await self._link.accept(received.body))
        if received.method == "PUT":
            # The guide: unregister and register again.
            raise Refusal(2000, "the hub has no update of credentials", 405)
        if not is_registered:
            raise Refusal(2000, "not registered", 405)
        self._link.forget()
        return self._good()

    def _functional(
        self,
        module: str,
        received: Received,
        parts: list[str],
        asking: Party,
        complain: Callable[[str], None],
    ) -> Answer:
        if module == "tokens":
            return self._tokens(received, parts)
        if module == "commands":
            return self._commands(received, parts, complain)
        if module == "cdrs":
            return self._cdrs(received, parts, asking, complain)
        if len(parts) < 3 or (module != "locations" and len(parts) > 3) or len(parts) > 5:
            complain(f"{module} are at /COUNTRY/PARTY/ID")
            raise Refusal(2001, f"{module} are at /COUNTRY/PARTY/ID", 404)
        key = (parts[0], parts[1], parts[2])
        if (key[0].upper(), key[1].upper()) != asking:
            complain(f"the object is of {key[0]}*{key[1]}, and {'*'.join(asking)} tells it")
            raise Refusal(2001, f"{key[0]}*{key[1]} is not who asks", 404)
        return self._owned(module, received, key, parts[3:], complain)

    def _owned(
        self,
        module: str,
        received: Received,
        key: Key,
        parts: list[str],
        complain: Callable[[str], None],
    ) -> Answer:
        """Locations, sessions and tariffs, which the CPO owns and tells."""
        held, body = self._held, deepcopy(received.body)
        if received.method == "GET":
            return self._good(_get(held, module, key, parts))
        if received.method == "DELETE":
            if held.tariffs.pop(key, None) is None:
                raise Refusal(2001, f"tariff {'*'.join(key)} is not known", 404)
            return self._good()
        if received.method == "PATCH":
            if module == "locations":
                held.patch_location(key, parts, body, complain)
            else:
                held.patch_session(key, body, complain)
            return self._good()
        known = getattr(held, module)
        is_new = not parts and key not in known
        if module == "locations" and parts:
            _put_part(held, key, parts, body, complain)
        elif module == "locations":
            held.take_location(key, body, complain)
        elif module == "sessions":
            held.take_session(key, body, complain)
        else:
            held.take_tariff(key, body, complain)
        return self._good(http_status=201 if is_new else 200)

    def _cdrs(
        self, received: Received, parts: list[str], asking: Party, complain: Callable[[str], None]
    ) -> Answer:
        if received.method == "GET":
            found = self._records.get("/".join(parts))
            if found is None:
                raise Refusal(2001, "there is no CDR here: see the Location that it was given", 404)
            return self._good(self._held.cdrs[found])
        if parts:
            complain("CDRs are posted to the endpoint itself")
            raise Refusal(2001, "CDRs are posted to the endpoint itself", 404)
        key, is_new = self._held.take_cdr(deepcopy(received.body), complain)
        if (key[0], key[1]) != asking:
            complain(f"the CDR is of {key[0]}*{key[1]}, and {'*'.join(asking)} tells it")
        answer = self._good(http_status=201 if is_new else 200)
        # An address that cannot be guessed from the CDR: it has to be taken from the header.
        number = f"record-{list(self._held.cdrs).index(key) + 1}"
        self._records[number] = key
        answer.headers["Location"] = f"{self._base_url()}{BASE_PATH}/cdrs/{number}"
        answer.sent = lambda: self._held.acknowledged.add(key)
        return answer

    def _tokens(self, received: Received, parts: list[str]) -> Answer:
        if received.method != "POST" or len(parts) != 2 or parts[1] != "authorize":
            raise Refusal(2000, "the hub has no download of tokens: ask /UID/authorize", 404)
        uid, kind = parts[0], received.query.get("type", "RFID")
        if kind == "RFID" and not RFID.fullmatch(uid.upper()):
            raise Refusal(2001, "the UID of a badge has 8 or 14 hexadecimal digits")
        if received.body is None:
            raise Refusal(2002, "the location is missing: the hub asks for LocationReferences")
        found = problems("LocationReferences", received.body)
        if found:
            raise Refusal(2002 if "location_id is missing" in found[0] else 2001, "; ".join(found))
        info = self._partners.authorize(uid, kind, received.body)
        if info is None:
            raise Refusal(2004, "the token is not known", 404)
        return self._good(info)

    def _commands(
        self, received: Received, parts: list[str], complain: Callable[[str], None]
    ) -> Answer:
        found = problems("CommandResult", received.body)
        if found:
            for words in found:
                complain(words)
            raise Refusal(2001, "; ".join(found))
        command, uid, *_ = (*parts, "", "")
        wrong = self._partners.settle(command, uid, received.body)
        if wrong is not None:
            complain(wrong)
            raise Refusal(2001, wrong)
        return self._good()


def _document(content: bytes) -> Any:
    """The JSON document; None where it is none."""
    try:
        return json.loads(content)
    except ValueError:
        return None


def _get(held: Held, module: str, key: Key, parts: list[str]) -> Document:
    if module == "locations":
        return held.place(key, parts)
    known: dict[Key, Document] = getattr(held, module)
    if key not in known:
        raise Refusal(2001, f"{module} {'*'.join(key)}: not known", 404)
    return known[key]


def _put_part(
    held: Held, key: Key, parts: list[str], body: Any, complain: Callable[[str], None]
) -> None:
    if len(parts) == 1:
        held.take_evse(key, parts[0], body, complain)
    else:
        held.take_connector(key, parts[0], parts[1], body, complain)


def _object_of(received: Received) -> str | None:
    """The object that a request tells of; None where it tells of none."""
    parts = received.path.removeprefix(BASE_PATH).strip("/").split("/")
    if received.method == "GET" or parts[0] not in ("locations", "sessions", "tariffs", "cdrs"):
        return None
    if parts[0] != "cdrs":
        return "/".join(parts[:4])
    body = received.body if isinstance(received.body, dict) else {}
    return f"cdrs/{body.get('country_code')}/{body.get('party_id')}/{body.get('id')}"


def _is_uuid(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text.lower()
    except ValueError:
        return False


def _echo(received: Received) -> dict[str, str]:
    names = ("X-Request-ID", "X-Correlation-ID")
    return {name: received.headers[name] for name in names if name in received.headers}


def _way_back(received: Received) -> dict[str, str]:
    """The way there turned round, where one was told."""
    headers = received.headers
    if not all(name in headers for name in _ROUTE):
        return {}
    return {
        "OCPI-from-country-code": headers["ocpi-to-country-code"],
        "OCPI-from-party-id": headers["ocpi-to-party-id"],
        "OCPI-to-country-code": headers["ocpi-from-country-code"],
        "OCPI-to-party-id": headers["ocpi-from-party-id"],
    }
