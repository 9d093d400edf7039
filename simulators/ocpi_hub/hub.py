"""The hub as tests and demonstrations use it."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from simulators.ocpi_hub.calling import Call, Caller, HubComplaint, Party, Reply, described
from simulators.ocpi_hub.held import Document, Held, Key
from simulators.ocpi_hub.link import Link
from simulators.ocpi_hub.pages import pull
from simulators.ocpi_hub.receiving import BASE_PATH, VERSIONS_PATH, Receiver
from simulators.ocpi_hub.shapes import instant, problems
from simulators.ocpi_hub.wire import Faults, Match, Received, Server

COMMAND_TIMEOUT_S: Final = 30.0
NOT_SUPPORTED: Final = ("RESERVE_NOW", "CANCEL_RESERVATION", "UNLOCK_CONNECTOR")
_Settled = asyncio.Future[Document]


@dataclass(frozen=True)
class CommandResponse:
    """What the CPO answered at once. `result` and `timeout_s` None: it refused the request."""

    result: str | None
    timeout_s: int | None
    message: list[Document]
    ocpi_status: int | None
    http_status: int


@dataclass(frozen=True)
class CommandResult:
    """What came of it, told later."""

    result: str
    message: list[Document]


@dataclass
class _Order:
    """A command told to the CPO: how often, and what came of it."""

    name: str
    url: str
    body: Document
    between: tuple[Party, Party]
    told: int = 0
    answered: int = 0
    is_refused: bool = False
    until: datetime | None = None  # as the CPO promised
    settled: _Settled | None = None


@dataclass
class _Badge:
    token: Document
    allowed: str
    references: list[str] = field(default_factory=list)


class OcpiHub:
    """The hub, its partners and all it was told.

    `clock` and `new_id` are the time and the identifiers (UUIDs) that it uses.
    """

    def __init__(
        self,
        country_code: str = "FR",
        party_id: str = "107",
        *,
        clock: Callable[[], datetime] | None = None,
        new_id: Callable[[], str] | None = None,
    ) -> None:
        self.party: Party = (country_code, party_id)
        self._clock = clock or (lambda: datetime.now(UTC))
        self._new_id = new_id or (lambda: str(uuid.uuid4()))
        self._held = Held()
        self._badges: dict[str, _Badge] = {}
        self._orders: dict[str, _Order] = {}
        self._last: dict[str, Call | _Order] = {}
        self._faults = Faults()
        self._host = "127.0.0.1"
        self._caller = Caller(lambda words: self.complaints.append(words), self._new_id)
        self.link = Link(
            self._caller,
            lambda words: self.complaints.append(words),
            self._new_id,
            self._credentials,
        )
        self._receiver = Receiver(
            self.party, self.link, self._held, self, self._clock, lambda: self.base_url
        )
        self._server = Server(self._receiver.handle, self._faults.take)

    # What it is, and holds.

    @property
    def base_url(self) -> str:
        """Its address, without a path."""
        return f"http://{self._host}:{self._server.port}"

    @property
    def versions_url(self) -> str:
        """What a CPO is given, with a token."""
        return self.base_url + VERSIONS_PATH

    @property
    def locations(self) -> dict[Key, Document]:
        """Locations by country, party and id."""
        return self._held.locations

    @property
    def tariffs(self) -> dict[Key, Document]:
        """Tariffs, likewise."""
        return self._held.tariffs

    @property
    def sessions(self) -> dict[Key, Document]:
        """Sessions, likewise."""
        return self._held.sessions

    @property
    def cdrs(self) -> dict[Key, Document]:
        """CDRs, likewise."""
        return self._held.cdrs

    @property
    def received(self) -> list[Received]:
        """Every request, in the order in which they came."""
        return self._receiver.received

    @property
    def complaints(self) -> list[str]:
        """What breaks the specification or the guide, in words."""
        return self._receiver.complaints

    @asynccontextmanager
    async def serve(self, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator["OcpiHub"]:
        """Listen; 0: on a port that is free."""
        self._host = host
        self._server.open(host, port, self._clock)
        try:
            yield self
        finally:
            await self._server.close()

    # What goes wrong.

    def fail(self, kind: str, times: int | None = 1, match: Match | None = None) -> None:
        """Let the next requests go wrong (see `wire.FAULTS`); `match` of method and path.

        Raises: ValueError for a kind that is none.
        """
        self._faults.add(kind, times, match)

    def mend(self) -> None:
        """No fault waits any more."""
        self._faults.clear()

    def slow_down(self, answer_after_s: float, slow_s: float | None = None) -> None:
        """Every answer takes so long; `slow_s`: the fault of that name."""
        self._receiver.answer_after_s = answer_after_s
        if slow_s is not None:
            self._receiver.slow_s = slow_s

    def down(self) -> None:
        """The port refuses connections."""
        self._server.down()

    def up(self) -> None:
        """It listens again."""
        self._server.up()

    # The connection.

    async def register(self, cpo_versions_url: str, token_a: str) -> None:
        """Register at the CPO. Raises: HubComplaint in words."""
        await self.link.register(cpo_versions_url, token_a)

    def invite(self, token_a: str) -> None:
        """Let a CPO register with that token."""
        self.link.invited.add(token_a)

    async def unregister(self) -> None:
        """Tell the CPO that it is over. Raises: HubComplaint."""
        await self.link.unregister()

    def _credentials(self, token: str) -> Document:
        country_code, party_id = self.party
        details = {"name": "Simulated roaming hub"}
        role = {"role": "HUB", "country_code": country_code, "party_id": party_id}
        return {
            "token": token,
            "url": self.versions_url,
            "roles": [role | {"business_details": details}],
        }

    # Its partners.

    def add_token(
        self,
        uid: str,
        contract_id: str,
        type: str = "RFID",
        allowed: str = "ALLOWED",
        *,
        country_code: str = "FR",
        party_id: str = "EMP",
        whitelist: str = "NEVER",
        valid: bool = True,
        **more: Any,
    ) -> Document:
        """A badge of a partner: the Token. `more`: its other fields.

        Raises: ValueError where the Token would break the specification.
        """
        token: Document = {
            "country_code": country_code,
            "party_id": party_id,
            "uid": uid,
            "type": type,
            "contract_id": contract_id,
            "issuer": "Simulated mobility provider",
            "valid": valid,
            "whitelist": whitelist,
            "last_updated": f"{self._clock():%Y-%m-%dT%H:%M:%S}Z",
            **more,
        }
        found = problems("Token", token)
        if found:
            raise ValueError("; ".join(found))
        self._badges[uid.upper()] = _Badge(token, allowed)
        self._held.contracts[uid.upper()] = contract_id
        return deepcopy(token)

    def parties(self) -> set[Party]:
        """The mobility providers behind the hub."""
        return {
            (badge.token["country_code"], badge.token["party_id"])
            for badge in self._badges.values()
        }

    def authorize(self, uid: str, kind: str, place: Document) -> Document | None:
        """An AuthorizationInfo; None for a token that nobody knows."""
        badge = self._badges.get(uid.upper())
        if badge is None or badge.token["type"] != kind:
            return None
        info: Document = {"allowed": badge.allowed, "token": deepcopy(badge.token)}
        if badge.allowed == "ALLOWED":
            info["location"] = place
            info["authorization_reference"] = self._refer(uid)
        return info

    def _refer(self, uid: str) -> str:
        reference = self._new_id()
        self._held.issued.setdefault(uid.upper(), set()).add(reference)
        return reference

    # Commands.

    async def start_session(
        self,
        location_id: str,
        evse_uid: str,
        token_uid: str,
        connector_id: str | None = None,
        timeout_s: float = COMMAND_TIMEOUT_S,
    ) -> tuple[CommandResponse, CommandResult | None]:
        """Start a session from afar; None where no result came in time."""
        token = self._token(token_uid)
        body = {
            "token": token,
            "location_id": location_id,
            "evse_uid": evse_uid,
            "authorization_reference": self._refer(token_uid),
        }
        if connector_id is not None:
            body["connector_id"] = connector_id
        order = self._order("START_SESSION", body, (token["country_code"], token["party_id"]))
        return await self._follow(order, timeout_s)

    async def stop_session(
        self, session_id: str, timeout_s: float = COMMAND_TIMEOUT_S
    ) -> tuple[CommandResponse, CommandResult | None]:
        """Stop a session from afar; likewise."""
        order = self._order(
            "STOP_SESSION", {"session_id": session_id}, self._partner_of(session_id)
        )
        return await self._follow(order, timeout_s)

    async def command(self, name: str, body: Document) -> CommandResponse:
        """Tell the CPO any command; the answer at once. `response_url` is added."""
        response = await self._tell(self._order(name, body, self.party))
        if name in NOT_SUPPORTED and response.result != "NOT_SUPPORTED":
            self.complaints.append(f"{name} was answered {response.result}, not NOT_SUPPORTED")
        return response

    def _token(self, uid: str) -> Document:
        return deepcopy(self._badges[uid.upper()].token)

    def _partner_of(self, session_id: str) -> Party:
        """Whose session it is; the hub where it is not known."""
        for key, session in self.sessions.items():
            if key[2] == session_id:
                badge = self._badges.get(session["cdr_token"]["uid"].upper())
                if badge is not None:
                    return badge.token["country_code"], badge.token["party_id"]
        return self.party

    def _order(self, name: str, body: Document, asking: Party) -> _Order:
        number = self._new_id()
        url = f"{self.base_url}{BASE_PATH}/commands/{name}/{number}"
        order = _Order(name, url, {"response_url": url, **body}, (asking, self._cpo()))
        self._orders[number] = order
        self._last["commands"] = order
        return order

    async def _tell(self, order: _Order) -> CommandResponse:
        order.told += 1
        order.settled = asyncio.get_running_loop().create_future()
        url = f"{self.link.url('commands', 'RECEIVER')}/{order.name}"
        reply = await self._send(Call("POST", url, self._theirs(), order.body, order.between))
        found = problems("CommandResponse", reply.data) if reply.is_good else []
        if found or not reply.is_good:
            order.is_refused = True
            self.complaints.extend(f"answer to {order.name}: {words}" for words in found)
            return CommandResponse(None, None, [], reply.ocpi_status, reply.http_status)
        data = reply.data
        order.is_refused = data["result"] != "ACCEPTED"
        order.until = self._clock() + timedelta(seconds=data["timeout"])
        return CommandResponse(
            data["result"],
            data["timeout"],
            data.get("message", []),
            reply.ocpi_status,
            reply.http_status,
        )

    async def _follow(
        self, order: _Order, timeout_s: float
    ) -> tuple[CommandResponse, CommandResult | None]:
        response = await self._tell(order)
        assert order.settled is not None
        if response.result != "ACCEPTED" and not order.settled.done():
            return response, None
        try:
            result = await asyncio.wait_for(asyncio.shield(order.settled), timeout_s)
        except TimeoutError:
            return response, None
        return response, CommandResult(result["result"], result.get("message", []))

    def settle(self, command: str, uid: str, result: Document) -> str | None:
        """Take the result of a command; the complaint where there is one."""
        order = self._orders.get(uid)
        if order is None or order.name != command:
            return "a result of a command that the hub did not tell"
        order.answered += 1
        if order.answered > order.told:
            return f"{command} was told {order.told} times, and has {order.answered} results"
        if order.is_refused:
            return f"a result of {command}, which was not accepted"
        if order.settled is not None and not order.settled.done():
            order.settled.set_result(result)
        if order.until is not None and self._clock() > order.until:
            self.complaints.append(f"the result of {command} came later than its timeout")
        return None

    # What it asks of the CPO.

    async def pull(
        self,
        module: str,
        date_from: datetime | None = None,
        date_to: datetime | None = None,
        page: int = 100,
    ) -> list[Document]:
        """All objects of a module (locations, tariffs, sessions, cdrs), page by page.

        Raises: HubComplaint where the pages cannot be read.
        """
        query = {}
        if date_from is not None:
            query["date_from"] = _stamp(date_from)
        elif module == "sessions":  # of which it is required
            query["date_from"] = "2020-01-01T00:00:00Z"
        if date_to is not None:
            query["date_to"] = _stamp(date_to)
        url = self.link.url(module, "SENDER")
        call = Call("GET", url, self._theirs(), None, (self.party, self._cpo()), query)
        return await pull(self._caller, self.complaints.append, module, call, page)

    async def get(self, module: str, *parts: str) -> Reply:
        """One object of the CPO's Sender interface (`locations` only have one): the answer."""
        url = "/".join((self.link.url(module, "SENDER"), *parts))
        return await self._send(self._call("GET", url, self.party))

    async def put_token(self, token: Document) -> Reply:
        """Tell the CPO a whole Token."""
        return await self._send_token("PUT", token, token)

    async def patch_token(self, uid: str, changes: Document) -> Reply:
        """Tell the CPO what changed of a Token; `last_updated` is added where it is missing."""
        stamp = {"last_updated": _stamp(self._clock())}
        return await self._send_token("PATCH", self._token(uid), stamp | changes)

    async def get_token(self, uid: str) -> Reply:
        """The Token as the CPO has it."""
        reply = await self._send_token("GET", self._token(uid), None)
        if reply.is_good:
            self.complaints.extend(
                f"token {uid} at the CPO: {words}" for words in problems("Token", reply.data)
            )
        return reply

    async def _send_token(self, method: str, token: Document, body: Document | None) -> Reply:
        owner = (token["country_code"], token["party_id"])
        parts = (self.link.url("tokens", "RECEIVER"), *owner, token["uid"])
        call = self._call(method, "/".join(parts), owner, body, {"type": token["type"]})
        if body is not None:
            self._last["tokens"] = call
        return await self._send(call)

    async def repeat_last(self, module: str) -> Reply | CommandResponse:
        """Tell the CPO the last command, or token, once more: the same body, as a new request."""
        last = self._last[module]
        return await (self._tell(last) if isinstance(last, _Order) else self._send(last))

    async def reorder(self, older: Document, newer: Document) -> Reply:
        """Tell two states of a Token in the wrong order: the CPO must keep the newer. Its answer
        to the question for the Token."""
        before, after = instant(older["last_updated"]), instant(newer["last_updated"])
        assert before and after and before < after, "the newer is newer"
        await self.put_token(newer)
        await self.put_token(older)
        reply = await self._send_token("GET", newer, None)
        if not reply.is_good or reply.data.get("last_updated") != newer["last_updated"]:
            self.complaints.append(
                f"token {newer['uid']} told in the wrong order: {described(reply)}, {reply.data}"
            )
        return reply

    def _call(
        self,
        method: str,
        url: str,
        asking: Party,
        body: Document | None = None,
        query: dict[str, str] | None = None,
    ) -> Call:
        return Call(method, url, self._theirs(), body, (asking, self._cpo()), query or {})

    async def _send(self, call: Call) -> Reply:
        return await self._caller.send(call)

    def _theirs(self) -> str:
        if self.link.theirs is None:
            raise HubComplaint("the hub is not registered with a CPO")
        return self.link.theirs

    def _cpo(self) -> Party:
        if not self.link.parties:
            raise HubComplaint("the hub is not registered with a CPO")
        return self.link.parties[0]


def _stamp(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%S}Z"
