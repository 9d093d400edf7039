"""A recorder at work without sockets: frames go in as calls of stations, answers come out.

    async with running_node(database, settings) as node:
        station = await node.station("CP1")
        answer = await station.call("Heartbeat", {})

Stations and badges are made by `provision`, times are the wall clock's unless a test says `at`.
"""

import asyncio
import contextlib
import itertools
import json
from collections.abc import AsyncIterator, Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from psycopg import AsyncConnection

from csms import db
from csms.config import Settings
from csms.domain.station import Station
from csms.recorder import Recorder
from csms.store import lookup
from csms.wire.dispatch import Dispatcher

TIMEOUT_S = 30.0
_message_ids = itertools.count(1)


class CallRefused(Exception):
    """The answer is a CALLERROR; `code` says which."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(f"{code}: {text}")
        self.code = code


class Talker:
    """One station at one node."""

    def __init__(self, node: "Node", station: Station, protocol: str) -> None:
        self.node = node
        self.station = station
        self.protocol = protocol

    def send(
        self,
        action: str,
        payload: dict[str, Any],
        *,
        message_id: str | None = None,
        at: datetime | None = None,
    ) -> "asyncio.Future[list[Any]]":
        """Send a call; the future of the whole frame of its answer."""
        message_id = message_id or f"m{next(_message_ids)}"
        frame = json.dumps([2, message_id, action, payload], separators=(",", ":"))
        return self.send_raw(frame, at=at)

    def send_raw(self, frame: str, *, at: datetime | None = None) -> "asyncio.Future[list[Any]]":
        """As `send`, with the text of the frame."""
        answer: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        self.node.dispatcher.receive(
            self.station,
            self.protocol,
            frame.encode(),
            at or datetime.now(UTC),
            lambda text: answer.set_result(json.loads(text)),
        )
        return answer

    async def call(self, action: str, payload: dict[str, Any], **options: Any) -> dict[str, Any]:
        """Send a call and wait for its result. Raises: CallRefused."""
        return result(await asyncio.wait_for(self.send(action, payload, **options), TIMEOUT_S))

    # Words of both versions for what the tests tell most.

    async def start(
        self, badge: str, *, evse_id: int = 1, register_wh: int = 1000, ago_s: float = 0
    ) -> dict[str, Any]:
        """StartTransaction of 1.6."""
        return await self.call(
            "StartTransaction",
            {
                "connectorId": evse_id,
                "idTag": badge,
                "meterStart": register_wh,
                "timestamp": stamp(ago_s),
            },
        )

    async def stop(
        self, transaction_id: int, *, register_wh: int = 2000, ago_s: float = 0
    ) -> dict[str, Any]:
        """StopTransaction of 1.6."""
        return await self.call(
            "StopTransaction",
            {"transactionId": transaction_id, "meterStop": register_wh, "timestamp": stamp(ago_s)},
        )


def result(frame: list[Any]) -> dict[str, Any]:
    """The payload of a CALLRESULT. Raises: CallRefused."""
    if frame[0] == 4:
        raise CallRefused(frame[2], frame[3])
    payload: dict[str, Any] = frame[2]
    return payload


def stamp(ago_s: float = 0) -> str:
    """The time so many seconds ago, as stations write it."""
    return (datetime.now(UTC) - timedelta(seconds=ago_s)).isoformat().replace("+00:00", "Z")


def reading(
    register_wh: float, *, ago_s: float = 0, evse_id: int = 1, **more: Any
) -> dict[str, Any]:
    """A MeterValues of 1.6 with one register."""
    value = {"value": str(register_wh), "measurand": "Energy.Active.Import.Register", "unit": "Wh"}
    return {
        "connectorId": evse_id,
        "meterValue": [{"timestamp": stamp(ago_s), "sampledValue": [value]}],
        **more,
    }


def event(
    kind: str,
    transaction_id: str,
    seq_no: int,
    *,
    register_wh: float | None = None,
    badge: str | None = None,
    evse_id: int | None = 1,
    ago_s: float = 0,
    **more: Any,
) -> dict[str, Any]:
    """A TransactionEvent of 2.0.1."""
    at = stamp(ago_s)
    payload: dict[str, Any] = {
        "eventType": kind,
        "timestamp": at,
        "triggerReason": "Authorized",
        "seqNo": seq_no,
        "transactionInfo": {"transactionId": transaction_id},
    }
    if evse_id is not None:
        payload["evse"] = {"id": evse_id, "connectorId": 1}
    if badge is not None:
        payload["idToken"] = {"idToken": badge, "type": "ISO14443"}
    if register_wh is not None:
        payload["meterValue"] = [{"timestamp": at, "sampledValue": [{"value": register_wh}]}]
    return payload | more


class Node:
    """A recorder with its dispatcher."""

    def __init__(self, database: db.Database, settings: Settings) -> None:
        self.database = database
        self.settings = settings
        self.recorder = Recorder(database, settings)
        self.dispatcher = Dispatcher(self.recorder)

    async def station(self, id: str, protocol: str = "ocpp1.6") -> Talker:
        """The station as the gateway has it after its handshake."""
        async with await db.connect(self.database) as connection:
            (row,) = await lookup.fetch_stations(connection, [id])
        return Talker(self, self.recorder.station_of(row), protocol)


@contextlib.asynccontextmanager
async def running_node(
    database: db.Database, settings: Settings, *, wait: bool = True, **changed: Any
) -> AsyncIterator[Node]:
    """A node at work, drained at the end; `changed` are settings that differ.

    wait: until it can commit.
    """
    node = Node(database, replace(settings, **changed))
    task = asyncio.create_task(node.recorder.run())
    try:
        if wait:
            await asyncio.wait_for(node.recorder.up.wait(), TIMEOUT_S)
        yield node
        await asyncio.wait_for(node.recorder.drain(), TIMEOUT_S)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def provision(
    database: db.Database, stations: Iterable[str], badges: Iterable[str] = ()
) -> None:
    """Stations and badges with nothing special about them."""
    async with await db.connect(database) as connection:
        for id in stations:
            await connection.execute("INSERT INTO station (id) VALUES (%s)", (id,))
        for uid in badges:
            await add_badge(connection, uid)


async def add_badge(connection: AsyncConnection, uid: str, **columns: Any) -> None:
    """One badge, with columns of its table."""
    row = {"uid": uid, "uid_key": uid.lower()} | columns
    names, values = ", ".join(row), ", ".join(f"%({name})s" for name in row)
    await connection.execute(f"INSERT INTO token ({names}) VALUES ({values})".encode(), row)


async def query(database: db.Database, statement: str, *parameters: Any) -> list[Any]:
    """Rows of a statement, as the application sees them."""
    async with await db.connect(database) as connection:
        cursor = await connection.execute(statement.encode(), parameters or None)
        return await cursor.fetchall()


async def as_owner(database: db.Database, *statements: str) -> None:
    """What only the owner of the tables may do."""
    async with await db.connect(database, owner=True) as connection:
        for statement in statements:
            await connection.execute(statement.encode())


async def until(
    database: db.Database, statement: str, *parameters: Any, timeout_s: float = TIMEOUT_S
) -> None:
    """Wait until the statement returns a row: for what happens in the database only."""
    async with asyncio.timeout(timeout_s), await db.connect(database) as connection:
        while True:
            cursor = await connection.execute(statement.encode(), parameters or None)
            if await cursor.fetchone() is not None:
                return
            await asyncio.sleep(0.01)
