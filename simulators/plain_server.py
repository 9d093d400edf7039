"""The plain way, for comparison: `ocpp.ChargePoint` over `websockets`, storing nothing.

`--echo` is barer still: a websocket server that sends every frame back. Both print one line when
they listen, and end when standard input does. Measured by `simulators.bench`, never used else.
"""

import argparse
import asyncio
import itertools
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from importlib import import_module
from typing import Any, TypeVar

import uvloop
from websockets.asyncio.server import ServerConnection, serve

F = TypeVar("F", bound=Callable[..., Any])

# The package has no types of its own.
_v16: Any = import_module("ocpp.v16")
_v201: Any = import_module("ocpp.v201")
on: Callable[[str], Callable[[F], F]] = import_module("ocpp.routing").on

_transaction_ids = itertools.count(1)


def _now() -> str:
    return datetime.now(UTC).isoformat()


class Station16(_v16.ChargePoint):  # type: ignore[misc]
    """Answers what the load generator asks, and keeps nothing."""

    @on("BootNotification")
    def boot(self, **_: Any) -> Any:
        return _v16.call_result.BootNotification(_now(), 300, "Accepted")

    @on("StatusNotification")
    def status(self, **_: Any) -> Any:
        return _v16.call_result.StatusNotification()

    @on("StartTransaction")
    def start_transaction(self, **_: Any) -> Any:
        return _v16.call_result.StartTransaction(next(_transaction_ids), {"status": "Accepted"})

    @on("MeterValues")
    def meter_values(self, **_: Any) -> Any:
        return _v16.call_result.MeterValues()

    @on("StopTransaction")
    def stop_transaction(self, **_: Any) -> Any:
        return _v16.call_result.StopTransaction()

    @on("Heartbeat")
    def heartbeat(self, **_: Any) -> Any:
        return _v16.call_result.Heartbeat(_now())


class Station201(_v201.ChargePoint):  # type: ignore[misc]
    """The same for OCPP 2.0.1."""

    @on("BootNotification")
    def boot(self, **_: Any) -> Any:
        return _v201.call_result.BootNotification(_now(), 300, "Accepted")

    @on("StatusNotification")
    def status(self, **_: Any) -> Any:
        return _v201.call_result.StatusNotification()

    @on("TransactionEvent")
    def transaction_event(self, **_: Any) -> Any:
        return _v201.call_result.TransactionEvent()

    @on("Heartbeat")
    def heartbeat(self, **_: Any) -> Any:
        return _v201.call_result.Heartbeat(_now())


async def _answer(connection: ServerConnection) -> None:
    kind = Station201 if connection.subprotocol == "ocpp2.0.1" else Station16
    assert connection.request is not None
    await kind(connection.request.path.rsplit("/", 1)[-1], connection).start()


async def _echo(connection: ServerConnection) -> None:
    async for message in connection:
        await connection.send(message)


async def _serve(port: int, echo: bool) -> None:
    # A server that has subprotocols refuses clients that ask for none, as those of an echo do.
    subprotocols: Any = None if echo else ["ocpp1.6", "ocpp2.0.1"]
    handler = _echo if echo else _answer
    async with serve(handler, "127.0.0.1", port, subprotocols=subprotocols, compression=None):
        print("listening", flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


def main() -> None:
    """Listen on the port until standard input ends."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("--echo", action="store_true")
    arguments = parser.parse_args()
    uvloop.run(_serve(arguments.port, arguments.echo))


if __name__ == "__main__":
    main()
