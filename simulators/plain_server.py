"""The plain way, for comparison: `ocpp.ChargePoint` over `websockets`, storing nothing.

`--echo` is barer still: a websocket server that sends every frame back. Both print one line when
they listen, and end when standard input does. Measured by `simulators.bench`, never used else.
"""

import argparse
import asyncio
import itertools
import sys
from datetime import UTC, datetime
from typing import Any

import ocpp.v16
import ocpp.v201
import uvloop
from ocpp.routing import on
from ocpp.v16 import call_result as result16
from ocpp.v201 import call_result as result201
from websockets.asyncio.server import ServerConnection, serve

_transaction_ids = itertools.count(1)


def _now() -> str:
    return datetime.now(UTC).isoformat()


class Station16(ocpp.v16.ChargePoint):
    """Answers what the load generator asks, and keeps nothing."""

    @on("BootNotification")
    def boot(self, **_: Any) -> result16.BootNotification:
        return result16.BootNotification(_now(), 300, "Accepted")  # type: ignore[arg-type]

    @on("StatusNotification")
    def status(self, **_: Any) -> result16.StatusNotification:
        return result16.StatusNotification()

    @on("StartTransaction")
    def start_transaction(self, **_: Any) -> result16.StartTransaction:
        return result16.StartTransaction(next(_transaction_ids), {"status": "Accepted"})  # type: ignore[arg-type]

    @on("MeterValues")
    def meter_values(self, **_: Any) -> result16.MeterValues:
        return result16.MeterValues()

    @on("StopTransaction")
    def stop_transaction(self, **_: Any) -> result16.StopTransaction:
        return result16.StopTransaction()

    @on("Heartbeat")
    def heartbeat(self, **_: Any) -> result16.Heartbeat:
        return result16.Heartbeat(_now())


class Station201(ocpp.v201.ChargePoint):
    """The same for OCPP 2.0.1."""

    @on("BootNotification")
    def boot(self, **_: Any) -> result201.BootNotification:
        return result201.BootNotification(_now(), 300, "Accepted")

    @on("StatusNotification")
    def status(self, **_: Any) -> result201.StatusNotification:
        return result201.StatusNotification()

    @on("TransactionEvent")
    def transaction_event(self, **_: Any) -> result201.TransactionEvent:
        return result201.TransactionEvent()

    @on("Heartbeat")
    def heartbeat(self, **_: Any) -> result201.Heartbeat:
        return result201.Heartbeat(_now())


async def _answer(connection: ServerConnection) -> None:
    kind = Station201 if connection.subprotocol == "ocpp2.0.1" else Station16
    assert connection.request is not None
    await kind(connection.request.path.rsplit("/", 1)[-1], connection).start()


async def _echo(connection: ServerConnection) -> None:
    async for message in connection:
        await connection.send(message)


async def _serve(port: int, echo: bool) -> None:
    subprotocols: Any = ["ocpp1.6", "ocpp2.0.1"]
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
