"""A small central system for tests of the simulators, made of the `ocpp` package's server side.

It checks every payload against the package's schemas, keeps what it was told in order, and can be
told to be silent, to refuse, or to cut the connection at a certain message.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ssl import SSLContext
from typing import Any

import ocpp.v16
import ocpp.v201
from ocpp.charge_point import camel_to_snake_case
from ocpp.messages import Call, MessageType, get_validator
from ocpp.routing import on
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed

NOW = "2026-11-22T12:00:00Z"


def assert_valid(protocol: str, action: str, payload: dict[str, Any]) -> None:
    """Raises: jsonschema's ValidationError when a request is not by the schema."""
    get_validator(MessageType.Call, action, protocol.removeprefix("ocpp")).validate(payload)


class Peer:
    """What the central system was told, and how it behaves. `url` takes the identity behind it."""

    def __init__(self) -> None:
        self.url = ""
        self.told: list[tuple[str, str, str, dict[str, Any]]] = []  # station, id, action, payload
        self.answers: dict[tuple[str, str, str], dict[str, Any]] = {}  # by station, action, payload
        self.starts = 0
        self.silent_on: set[str] = set()  # actions left without an answer, once each
        self.cut_on: set[str] = set()  # actions that cost the connection before the answer, once
        self.refuse_on: set[str] = set()  # actions answered by CALLERROR, once each
        self.boot_status = "Accepted"
        self.passwords: list[str | None] = []
        self.clients: dict[str, Any] = {}
        self.shown: list[dict[str, Any] | None] = []  # client certificates, one per connection
        self.changed = asyncio.Condition()
        self.schema_errors: list[str] = []
        self.server: Server | None = None

    def actions(self, station: str) -> list[str]:
        return [action for name, _, action, _ in self.told if name == station]

    def payloads(self, action: str, station: str | None = None) -> list[dict[str, Any]]:
        return [
            payload
            for name, _, told, payload in self.told
            if told == action and station in (None, name)
        ]

    async def until(self, condition: Any, timeout_s: float = 10) -> None:
        async with asyncio.timeout(timeout_s), self.changed:
            await self.changed.wait_for(condition)

    def answer(self, station: str, action: str, payload: dict[str, Any]) -> dict[str, Any]:
        """The response; what says the same again gets the same answer."""
        key = (station, action, json.dumps(payload, sort_keys=True))
        if key not in self.answers or action in ("BootNotification", "Heartbeat"):
            self.answers[key] = self._new_answer(action)
        return self.answers[key]

    def _new_answer(self, action: str) -> dict[str, Any]:
        if action == "BootNotification":
            return {"currentTime": NOW, "interval": 300, "status": self.boot_status}
        if action == "Heartbeat":
            return {"currentTime": NOW}
        if action == "StartTransaction":
            self.starts += 1
            return {"transactionId": self.starts, "idTagInfo": {"status": "Accepted"}}
        if action == "Authorize":
            return {"idTagInfo": {"status": "Accepted"}}
        if action in ("SignCertificate", "DataTransfer"):
            return {"status": "Accepted"}
        return {}


def _routes(peer: Peer, client: Any, module: Any, station: str) -> dict[str, Any]:
    """One route per action of the version, all to the same handler."""

    def route(action: str) -> Any:
        result_class = getattr(module.call_result, action)

        @on(action)
        async def handle(**payload: Any) -> Any:
            response = peer.answer(station, action, payload)
            if action == "Authorize" and module is ocpp.v201:
                response = {"idTokenInfo": {"status": "Accepted"}}
            return result_class(**camel_to_snake_case(response))

        return {"_on_action": handle}

    names = [name for name in dir(module.call) if hasattr(module.call_result, name)]
    return {name: route(name) for name in names if name[0].isupper()}


async def _serve(peer: Peer, socket: ServerConnection) -> None:
    assert socket.request is not None
    station = socket.request.path.rsplit("/", 1)[1]
    peer.passwords.append(socket.request.headers.get("Authorization"))
    tls = socket.transport.get_extra_info("ssl_object")
    peer.shown.append(None if tls is None else tls.getpeercert())
    module = ocpp.v201 if socket.subprotocol == "ocpp2.0.1" else ocpp.v16
    client = module.ChargePoint(station, socket, response_timeout=5)
    client.route_map = _routes(peer, client, module, station)
    peer.clients[station] = client
    try:
        async for text in socket:
            frame = json.loads(text)
            if frame[0] == MessageType.Call:
                await _note(peer, station, str(socket.subprotocol), frame)
                if frame[2] in peer.cut_on:
                    peer.cut_on.discard(frame[2])
                    socket.transport.abort()
                    return
                if frame[2] in peer.silent_on:
                    peer.silent_on.discard(frame[2])
                    continue
                if frame[2] in peer.refuse_on:
                    peer.refuse_on.discard(frame[2])
                    error = Call(frame[1], frame[2], {}).create_call_error(Exception())
                    await socket.send(error.to_json())
                    continue
            await client.route_message(text)
    except ConnectionClosed:
        pass


async def _note(peer: Peer, station: str, protocol: str, frame: list[Any]) -> None:
    try:
        assert_valid(protocol, frame[2], frame[3])
    except Exception as error:
        peer.schema_errors.append(f"{frame[2]}: {error}"[:500])
    async with peer.changed:
        peer.told.append((station, frame[1], frame[2], frame[3]))
        peer.changed.notify_all()


@asynccontextmanager
async def peer_listening(tls: SSLContext | None = None) -> AsyncIterator[Peer]:
    """A peer on a free port of this machine, over TLS when given its context."""
    peer = Peer()
    async with serve(
        lambda socket: _serve(peer, socket),
        "127.0.0.1",
        0,
        subprotocols=["ocpp1.6", "ocpp2.0.1"],
        compression=None,
        close_timeout=1,
        ssl=tls,
    ) as server:
        peer.server = server
        port = next(iter(server.sockets)).getsockname()[1]
        peer.url = f"{'ws' if tls is None else 'wss'}://127.0.0.1:{port}/ocpp"
        yield peer
