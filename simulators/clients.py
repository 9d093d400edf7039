"""The client's side of one OCPP connection, twice.

`PackageClient` is the `ocpp` package's ChargePoint: the field's own library, slow but a faithful
stranger to our server. `PlainClient` speaks the same frames with nothing in between, for replays
of many thousand messages. Both send one call at a time and let the station answer the central
system's calls; an answer's effect comes after the answer is out. `Ear` hears every order before
either: there a station disobeys (`simulators.obedience`).
"""

import asyncio
import json
import logging
from collections.abc import Callable
from datetime import datetime
from importlib import import_module
from typing import Any, Protocol

from websockets.asyncio.client import ClientConnection

from simulators import commands
from simulators.model import OCPP16, OCPP201, Heard
from simulators.station import Station

# The package logs every frame, and every refusal as an error; a simulator provokes refusals.
_WIRE_LOGGER = logging.getLogger("simulators.wire")
_WIRE_LOGGER.setLevel(logging.CRITICAL)

# The package carries no types.
_charge_point: Any = import_module("ocpp.charge_point")
_OCPPError: Any = import_module("ocpp.exceptions").OCPPError
_VERSIONS: dict[str, Any] = {
    OCPP16: import_module("ocpp.v16"),
    OCPP201: import_module("ocpp.v201"),
}
_CALL, _RESULT, _ERROR = 2, 3, 4


class CallRefused(Exception):
    """The central system answered with CALLERROR, or with something that cannot be read."""


class Client(Protocol):
    """What a driver needs of either."""

    async def listen(self) -> None:
        """Read until the connection ends. Raises: ConnectionClosed."""

    async def ask(
        self, message_id: str, action: str, payload: dict[str, Any], *, validate: bool
    ) -> dict[str, Any]:
        """The response to a call. Raises: CallRefused; TimeoutError; ConnectionClosed."""


class Ear:
    """The socket, as a client reads it: orders that the station disobeys never get through."""

    def __init__(self, station: Station, socket: ClientConnection) -> None:
        self._station = station
        self._socket = socket

    async def recv(self) -> str | bytes:
        """The next frame that is the client's business. Raises: ConnectionClosed."""
        while True:
            text = await self._socket.recv()
            frame = _order(text)
            if frame is None:
                return text
            behaviour = self._station.config.obedience.of(str(frame[2]))
            self._station.hear(Heard(str(frame[1]), str(frame[2]), frame[3], behaviour))
            if behaviour == "error":
                await self.send(_text([_ERROR, frame[1], "InternalError", "told to fail", {}]))
            elif behaviour == "reboot":
                self._station.leave("crash")
            elif behaviour != "silent":
                return text

    async def send(self, text: str) -> None:
        """Send one frame. Raises: ConnectionClosed."""
        await self._socket.send(text)


class _CallError(_OCPPError):  # type: ignore[misc]
    """An order that the station answers by CALLERROR, as the package wants it raised."""

    def __init__(self, error: commands.OrderError) -> None:
        super().__init__(description=error.description)
        self.code = error.code


class PackageClient:
    """`ocpp.ChargePoint` with handlers that ask our station."""

    def __init__(
        self,
        station: Station,
        socket: ClientConnection,
        timeout_s: float,
        clock: Callable[[], datetime],
    ) -> None:
        self._version = _VERSIONS[station.config.protocol]
        self._station = station
        self._clock = clock
        self._given: dict[str, commands.Answer] = {}  # by message id, until it is out
        self._client: Any = self._version.ChargePoint(
            station.config.identity,
            Ear(station, socket),
            response_timeout=timeout_s,
            logger=_WIRE_LOGGER,
        )
        self._client.route_map = {
            action: self._route(action, getattr(self._version.call_result, action))
            for action in commands.known_actions(station)
        }

    async def listen(self) -> None:
        await self._client.start()

    async def ask(
        self, message_id: str, action: str, payload: dict[str, Any], *, validate: bool
    ) -> dict[str, Any]:
        request_class = getattr(self._version.call, action)
        try:
            response = await self._client.call(
                request_class(**_charge_point.camel_to_snake_case(payload)),
                suppress=False,
                unique_id=message_id,
                skip_schema_validation=not validate,
            )
        except _OCPPError as error:
            raise CallRefused(f"{type(error).__name__}: {error}") from error
        answer: dict[str, Any] = _charge_point.snake_to_camel_case(
            _charge_point.serialize_as_dict(response)
        )
        return answer

    def _route(self, action: str, result_class: Any) -> dict[str, Any]:
        async def on_action(call_unique_id: str, **payload: Any) -> Any:
            # The package reads some numbers as Decimals.
            request = json.loads(
                json.dumps(_charge_point.snake_to_camel_case(payload), default=float)
            )
            try:
                given = commands.answer(self._station, action, request, self._clock())
            except commands.OrderError as error:
                raise _CallError(error) from error
            self._given[call_unique_id] = given
            return result_class(**_charge_point.camel_to_snake_case(given.response))

        def after_action(call_unique_id: str, **payload: Any) -> None:
            commands.carry_out(self._station, self._given.pop(call_unique_id), self._clock())

        return {"_on_action": on_action, "_after_action": after_action}


class PlainClient:
    """Frames in, frames out."""

    def __init__(
        self,
        station: Station,
        socket: ClientConnection,
        timeout_s: float,
        clock: Callable[[], datetime],
    ) -> None:
        self._station = station
        self._socket = Ear(station, socket)
        self._timeout_s = timeout_s
        self._clock = clock
        self._waiting: dict[str, asyncio.Future[dict[str, Any]]] = {}

    async def listen(self) -> None:
        while True:
            frame = json.loads(await self._socket.recv())
            if frame[0] == _CALL:
                await self._answer(*frame[1:4])
                continue
            future = self._waiting.get(frame[1])
            if future is None or future.done():
                continue
            if frame[0] == _RESULT:
                future.set_result(frame[2])
            else:
                future.set_exception(CallRefused(f"{frame[2]}: {frame[3]}"))

    async def ask(
        self, message_id: str, action: str, payload: dict[str, Any], *, validate: bool
    ) -> dict[str, Any]:
        """`validate` asks for nothing here."""
        future = asyncio.get_running_loop().create_future()
        self._waiting[message_id] = future
        try:
            await self._socket.send(_text([_CALL, message_id, action, payload]))
            async with asyncio.timeout(self._timeout_s):
                response: dict[str, Any] = await future
                return response
        finally:
            del self._waiting[message_id]

    async def _answer(self, message_id: str, action: str, payload: dict[str, Any]) -> None:
        try:
            given = commands.answer(self._station, action, payload, self._clock())
        except commands.OrderError as error:
            await self._socket.send(_text([_ERROR, message_id, error.code, str(error), {}]))
            return
        await self._socket.send(_text([_RESULT, message_id, given.response]))
        commands.carry_out(self._station, given, self._clock())


def _order(text: str | bytes) -> list[Any] | None:
    """A call of the central system; None: it is something else. Answers are not read for that."""
    if not isinstance(text, str) or not text[:16].replace(" ", "").startswith(f"[{_CALL},"):
        return None
    try:
        frame = json.loads(text)
    except ValueError:
        return None
    return frame if isinstance(frame, list) and len(frame) >= 4 else None


def _text(frame: list[Any]) -> str:
    return json.dumps(frame, separators=(",", ":"))
