"""Plays transcripts: conversations of stations with a real gateway, written as plain text.

A transcript is read line by line; an indented line goes on with the one above it.

    # comment
    setting frame_bytes_max=2000      the gateway runs with this setting
    quirk register_is_kwh vendor=X    a row of the quirk table
    token BADGE1 status=blocked       a row of the token table
    station CP1 ocpp1.6 serial=S1     creates the station and connects it; columns of the station,
                                      and power_w_max (of EVSE 1), password, path (of the URL);
                                      several protocols with commas, - for none; speaks=ocpp1.6
                                      if its first frame shows that
    > [2,"1","Heartbeat",{}]          the first station sends this text;  CP2 > ...  another one
    < [3,"1",{"currentTime":*}]       the next frame that it gets: * is any value, ... any further
                                      members, $tx is remembered at first and must be the same later
    bytes fffe                        sends these bytes as a text frame
    huge 600000                       sends a text frame of so many bytes
    disconnect / connect / cut        with or without the closing handshake; a connect while
                                      connected leaves the former connection open as `old`
    closed 1009 / old closed 1008     the gateway closed the connection with this code
    refused 401 ocpp1.6 password=x    a connection attempt is answered with this status
    order Reset {"type":"Soft"}       an order is placed for the station; expires_in_s=1 behind it;
                                      it comes as a frame: < [2,$id,"Reset",{"type":"Soft"}], and
                                      is answered by > [3,$id,{"status":"Accepted"}]
    ordered 1 status=accepted         the first order of the station, column by column; it becomes
                                      so in a moment; response.x and error.x look into the JSON
    quiet                             nothing comes to the station before the answer to a Heartbeat
    restart                           the gateway stops and starts, all stations connect again
    session 1 energy_wh=1200 flags=a  first session of the station, column by column; flags that
                                      are not stated must not be there
    sessions 2                        how many there are; without this line: those looked at
    desk stop_unmatched               reasons on the reconciliation desk; without this line: none
    see meter_value unit=kWh          a row about the station with these columns (content.x: JSON;
                                      session: the number of the session that it belongs to)
    count meter_reading 3             how many such rows, columns as above

In expectations about rows `-` is null and times are compared as moments. @now-2h30m is the moment
at which the transcript began, less two and a half hours, in ISO; @naive without a zone, @paris as
the wall clock shows it in Paris without a zone, @paris_as_z the same with a Z that is not true.
Words that begin with BADGE are made unique to the transcript, and so are names of stations.

Without being told, the player checks every CALLRESULT by the JSON schema of its response and the
code of every CALLERROR by its version.
"""

import asyncio
import base64
import contextlib
import dataclasses
import itertools
import json
import re
import shlex
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from psycopg import AsyncConnection, sql
from psycopg.rows import dict_row
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Subprotocol

from csms import db, passwords
from csms.commands import OPERATOR
from csms.config import Settings
from csms.wire import orders
from tests.transcript_service import Service
from tests.transcript_text import (
    check_answer,
    column,
    fits,
    lines_of,
    matches,
    pattern,
    shown,
    with_known,
    with_times,
)

TRANSCRIPTS = Path(__file__).parent / "transcripts"
TIMEOUT_S = 30.0
_numbers = itertools.count(1)
_SPEECH = re.compile(r"(?:(\w+) )?([<>]) (.*)", re.DOTALL)
_ORDER = re.compile(r"(?:(\w+) )?order (\w+) (\{.*\})(?: expires_in_s=([\d.]+))?")
_QUIET = "quiet"  # message id of the Heartbeat that ends a silence


class _Peer:
    """A station of the transcript with its connections."""

    def __init__(self, id: str, options: dict[str, str]) -> None:
        self.id = id
        self.options = options
        self.connection: ClientConnection | None = None
        self.old: ClientConnection | None = None
        self.asked: dict[str, str] = {}  # action by message id
        self.looked_at = 0  # highest number of a session that the transcript spoke of
        self.stated: set[str] = set()  # verbs that replace what is implied at the end

    @property
    def protocol(self) -> str:
        """What is spoken: as the transcript says, negotiated, or expected of the station."""
        assert self.connection is not None
        agreed = self.connection.subprotocol or self.options.get("protocol") or "ocpp1.6"
        return self.options.get("speaks", str(agreed))


class Player:
    """One transcript being played."""

    def __init__(self, service: Service, connection: AsyncConnection) -> None:
        self.service = service
        self.database = connection
        self.number = next(_numbers)
        self.began_at = datetime.now(UTC).replace(microsecond=0)
        self.peers: dict[str, _Peer] = {}
        self.known: dict[str, Any] = {}
        self.unchanged = service.settings

    @property
    def first(self) -> _Peer:
        return next(iter(self.peers.values()))

    async def play(self, text: str) -> None:
        """Raises: AssertionError that names the line."""
        try:
            for number, line in lines_of(text):
                try:
                    await self._line(self._filled(line))
                except Exception as error:
                    kind = "" if isinstance(error, AssertionError) else f"{type(error).__name__}: "
                    raise AssertionError(f"line {number}: {line}\n    {kind}{error}") from None
            for peer in self.peers.values():
                await self._check_implied(peer)
        finally:
            for peer in self.peers.values():
                await self._hang_up(peer)
            if self.service.settings is not self.unchanged:
                self.service.settings = self.unchanged
                await self.service.restart()

    def _filled(self, line: str) -> str:
        """The line with its times and badges."""
        line = with_times(line, self.began_at)
        return re.sub(r"\bBADGE(\w*)", rf"BADGE\g<1>-{self.number}", line)

    async def _line(self, line: str) -> None:
        speech = _SPEECH.fullmatch(line)
        if speech is not None:
            peer = self.peers[speech[1]] if speech[1] else self.first
            await (self._send if speech[2] == ">" else self._expect)(peer, speech[3])
            return
        placed = _ORDER.fullmatch(line)
        if placed is not None:
            await self._order(self.peers[placed[1]] if placed[1] else self.first, *placed.groups())
            return
        words = shlex.split(line)
        peer = None
        if words[0] in self.peers:
            peer = self.peers[words.pop(0)]
        elif self.peers:
            peer = self.first
        is_old = words[0] == "old"
        verb, *rest = words[is_old:]
        plain = [word for word in rest if not re.match(r"[\w.]+=", word)]
        options = {
            key: value for key, _, value in (w.partition("=") for w in rest if w not in plain)
        }
        options = {key: self._known(value) for key, value in options.items()}
        if verb in ("setting", "quirk", "token", "station", "restart"):
            await getattr(self, f"_{verb}")(plain, options)
        else:
            assert peer is not None, f"{verb} needs a station"
            await getattr(self, f"_old_{verb}" if is_old else f"_{verb}")(peer, plain, options)

    def _known(self, value: str) -> str:
        return str(self.known[value[1:]]) if value.startswith("$") else value

    # --- Setting the scene ----------------------------------------------------------------------

    async def _setting(self, plain: list[str], options: dict[str, str]) -> None:
        fields = {field.name: field for field in dataclasses.fields(Settings)}
        changed = {
            name: value
            if isinstance(fields[name].default, str | None)
            else type(fields[name].default)(value)
            for name, value in options.items()
        }
        self.service.settings = dataclasses.replace(self.service.settings, **changed)
        await self._restart([], {})

    async def _quirk(self, plain: list[str], options: dict[str, str]) -> None:
        row = {"decided_on": "2022-05-25", "reason": "seen", "correction": plain[0]} | options
        await self._insert("quirk", row)
        await self._restart([], {})

    async def _token(self, plain: list[str], options: dict[str, str]) -> None:
        row: dict[str, Any] = {"uid": plain[0], "uid_key": plain[0].lower()} | options
        if "site_ids" in row:
            row["site_ids"] = row["site_ids"].split(",")
        await self._insert("token", row)

    async def _station(self, plain: list[str], options: dict[str, str]) -> None:
        name, offered = plain
        peer = _Peer(f"{name}-{self.number}", options | {"offered": offered})
        row = {
            k: v
            for k, v in options.items()
            if k not in ("password", "path", "power_w_max", "speaks")
        }
        if "password" in options:
            row["password_hash"] = passwords.hash_generated(options["password"])
        await self._insert("station", row | {"id": peer.id})
        if "power_w_max" in options:
            await self.database.execute(
                "INSERT INTO evse (station_key, evse_id, power_w_max)"
                " SELECT station_key, 1, %s FROM station WHERE id = %s",
                (int(options["power_w_max"]), peer.id),
            )
        self.peers[name] = peer
        await self._connect(peer, [], {})

    async def _insert(self, table: str, row: dict[str, Any]) -> None:
        await self.database.execute(
            sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
                sql.Identifier(table),
                sql.SQL(", ").join(map(sql.Identifier, row)),
                sql.SQL(", ").join([sql.Placeholder()] * len(row)),
            ),
            list(row.values()),
        )

    # --- Connections ----------------------------------------------------------------------------

    async def _restart(self, plain: list[str], options: dict[str, str]) -> None:
        await self.service.restart()
        for peer in self.peers.values():
            if peer.connection is not None:
                await self._hang_up(peer)
                await self._connect(peer, [], {})

    async def _connect(self, peer: _Peer, plain: list[str], options: dict[str, str]) -> None:
        peer.old, peer.connection = peer.connection, await self._dial(peer, peer.options | options)

    async def _dial(self, peer: _Peer, options: dict[str, str]) -> ClientConnection:
        offered = [] if options["offered"] == "-" else options["offered"].split(",")
        path = options.get("path", "/ocpp/{id}").replace("{id}", peer.id)
        path = path.replace("{quoted}", "".join(f"%{byte:02X}" for byte in peer.id.encode()))
        headers = {}
        if "password" in options:
            pair = f"{options.get('user', peer.id)}:{options['password']}".encode()
            headers["Authorization"] = f"Basic {base64.b64encode(pair).decode()}"
        return await connect(
            f"ws://127.0.0.1:{self.service.port}{path}",
            subprotocols=[Subprotocol(name) for name in offered] or None,
            additional_headers=headers,
            compression="deflate" if "compression" in options else None,
            ping_interval=None,
            proxy=None,
        )

    async def _refused(self, peer: _Peer, plain: list[str], options: dict[str, str]) -> None:
        stated = {"offered": plain[1]} if len(plain) > 1 else {}
        try:
            connection = await self._dial(peer, peer.options | stated | options)
        except InvalidStatus as error:
            assert error.response.status_code == int(plain[0]), error
        else:
            await connection.close()
            raise AssertionError("the connection was accepted")

    async def _disconnect(self, peer: _Peer, plain: list[str], options: dict[str, str]) -> None:
        await self._hang_up(peer)

    async def _cut(self, peer: _Peer, plain: list[str], options: dict[str, str]) -> None:
        assert peer.connection is not None
        peer.connection.transport.abort()
        await self._hang_up(peer)

    async def _hang_up(self, peer: _Peer) -> None:
        for connection in (peer.connection, peer.old):
            if connection is not None:
                await connection.close()
        peer.connection = peer.old = None

    async def _closed(self, peer: _Peer, plain: list[str], options: dict[str, str]) -> None:
        await self._await_close(peer.connection, int(plain[0]))
        peer.connection = None

    async def _old_closed(self, peer: _Peer, plain: list[str], options: dict[str, str]) -> None:
        await self._await_close(peer.old, int(plain[0]))
        peer.old = None

    async def _await_close(self, connection: ClientConnection | None, code: int) -> None:
        assert connection is not None
        async with asyncio.timeout(TIMEOUT_S):
            await connection.wait_closed()
        assert connection.close_code == code, f"closed with {connection.close_code}"

    # --- Speech ---------------------------------------------------------------------------------

    async def _send(self, peer: _Peer, text: str) -> None:
        assert peer.connection is not None, "not connected"
        text = with_known(text, self.known)
        with contextlib.suppress(ValueError, LookupError, TypeError):
            kind, message_id, action, *_ = json.loads(text)
            if kind == 2:
                peer.asked[str(message_id)] = action
        await peer.connection.send(text)

    async def _bytes(self, peer: _Peer, plain: list[str], options: dict[str, str]) -> None:
        assert peer.connection is not None
        await peer.connection.send(bytes.fromhex("".join(plain)), text=True)

    async def _huge(self, peer: _Peer, plain: list[str], options: dict[str, str]) -> None:
        assert peer.connection is not None
        await peer.connection.send('[2,"1","DataTransfer",{"vendorId":"' + "x" * int(plain[0]))

    async def _expect(self, peer: _Peer, text: str) -> None:
        assert peer.connection is not None, "not connected"
        async with asyncio.timeout(TIMEOUT_S):
            got = await peer.connection.recv()
        frame = json.loads(got)
        assert matches(pattern(text), frame, self.known), f"got {str(got)[:1000]}"
        if frame[0] == 2:
            orders.check(peer.protocol, frame[2], frame[3])
        else:
            check_answer(frame, peer.protocol, peer.asked.get(frame[1]))

    async def _quiet(self, peer: _Peer, plain: list[str], options: dict[str, str]) -> None:
        await self._send(peer, f'[2,"{_QUIET}","Heartbeat",{{}}]')
        await self._expect(peer, f'[3,"{_QUIET}",{{"currentTime":*}}]')

    # --- Orders ---------------------------------------------------------------------------------

    async def _order(
        self, peer: _Peer, _: str | None, action: str, payload: str, expires_in_s: str | None
    ) -> None:
        async with self.database.transaction():
            await orders.place(
                self.database,
                peer.id,
                action,
                json.loads(with_known(payload, self.known)),
                origin=OPERATOR,
                now=datetime.now(UTC),
                expires_in_s=float(expires_in_s or 3600),
                settings=self.service.settings,
            )

    async def _ordered(self, peer: _Peer, plain: list[str], options: dict[str, str]) -> None:
        number = int(plain[0])
        deadline_s = asyncio.get_running_loop().time() + TIMEOUT_S / 2
        while True:
            rows = sorted(await self._about(peer, "command"), key=lambda row: row["id"])
            assert len(rows) >= number, f"there are {len(rows)} orders"
            row = rows[number - 1]
            for name in ("payload", "response", "error"):
                row[name] = orders.plain_json(row[name])
            seen = {name: shown(column(row, name)) for name in options}
            if all(fits(value, column(row, name)) for name, value in options.items()):
                return
            assert asyncio.get_running_loop().time() < deadline_s, f"is {seen}"
            await asyncio.sleep(0.02)

    # --- What the database holds ----------------------------------------------------------------

    async def _rows(self, query: str, *values: Any) -> list[dict[str, Any]]:
        async with self.database.cursor(row_factory=dict_row) as cursor:
            await cursor.execute(query.encode(), values)
            return await cursor.fetchall()

    async def _about(self, peer: _Peer, table: str) -> list[dict[str, Any]]:
        """Rows of a table that concern the station."""
        if table in ("refused_connection",):
            return await self._rows(f"SELECT * FROM {table} WHERE identity = %s", peer.id)
        if table == "station":
            return await self._rows("SELECT * FROM station WHERE id = %s", peer.id)
        key = "SELECT station_key FROM station WHERE id = %s"
        if table == "session_event":
            key = f"SELECT id FROM session WHERE station_key = ({key})"
            return await self._rows(f"SELECT * FROM {table} WHERE session_id IN ({key})", peer.id)
        rows = await self._rows(f"SELECT * FROM {table} WHERE station_key = ({key})", peer.id)
        if rows and "session_id" in rows[0]:
            ids = sorted(row["id"] for row in await self._about(peer, "session"))
            for row in rows:
                known = row["session_id"] in ids
                row["session"] = ids.index(row["session_id"]) + 1 if known else None
        return rows

    async def _session(self, peer: _Peer, plain: list[str], options: dict[str, str]) -> None:
        number = int(plain[0])
        peer.looked_at = max(peer.looked_at, number)
        rows = sorted(await self._about(peer, "session"), key=lambda row: row["id"])
        assert len(rows) >= number, f"there are {len(rows)} sessions"
        row = rows[number - 1]
        expected = {"flags": ""} | options
        differing = {
            name: shown(row[name]) for name, value in expected.items() if not fits(value, row[name])
        }
        assert not differing, f"is {differing}"

    async def _sessions(self, peer: _Peer, plain: list[str], options: dict[str, str]) -> None:
        peer.stated.add("sessions")
        found = len(await self._about(peer, "session"))
        assert found == int(plain[0]), f"there are {found}"

    async def _desk(self, peer: _Peer, plain: list[str], options: dict[str, str]) -> None:
        peer.stated.add("desk")
        rows = sorted(await self._about(peer, "reconciliation"), key=lambda row: row["id"])
        reasons = [row["reason"] for row in rows]
        assert reasons == [reason for reason in plain if reason != "-"], f"holds {reasons}"

    async def _see(self, peer: _Peer, plain: list[str], options: dict[str, str]) -> None:
        await self._until(peer, plain[0], options, lambda found: found > 0)

    async def _count(self, peer: _Peer, plain: list[str], options: dict[str, str]) -> None:
        await self._until(peer, plain[0], options, lambda found: found == int(plain[1]))

    async def _until(
        self, peer: _Peer, table: str, options: dict[str, str], enough: Callable[[int], bool]
    ) -> None:
        """Rows that are written beside the answers come a little later."""
        deadline_s = asyncio.get_running_loop().time() + TIMEOUT_S / 2
        while True:
            rows = await self._about(peer, table)
            found = sum(
                all(fits(value, column(row, name)) for name, value in options.items())
                for row in rows
            )
            if enough(found):
                return
            if asyncio.get_running_loop().time() > deadline_s:
                seen = [{name: shown(column(row, name)) for name in options} for row in rows]
                raise AssertionError(f"{found} rows fit, there are {seen}")
            await asyncio.sleep(0.02)

    async def _check_implied(self, peer: _Peer) -> None:
        """No session, and nothing on the desk, of which the transcript does not speak."""
        if "sessions" not in peer.stated:
            found = len(await self._about(peer, "session"))
            assert found == peer.looked_at, f"{peer.id} has {found} sessions"
        if "desk" not in peer.stated:
            await self._desk(peer, [], {})


async def play(path: Path, service: Service) -> None:
    """Play a transcript file. Raises: AssertionError that names its line."""
    text = path.read_text(encoding="utf-8")  # noqa: ASYNC240 - nobody waits
    async with await db.connect(service.database, owner=True) as connection:
        await Player(service, connection).play(text)
