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
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from functools import cache
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import jsonschema
import psycopg
import pytest
from psycopg import AsyncConnection, sql
from psycopg.rows import dict_row
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Subprotocol

from csms import db, passwords
from csms.config import Settings
from csms.embedded import EmbeddedServer
from csms.serve import open_service
from csms.wire.schema import load_schema
from tests.conftest import create_database, database_on, drop_database, free_ports

TRANSCRIPTS = Path(__file__).parent / "transcripts"
TIMEOUT_S = 5.0
ERROR_CODES = {
    "ocpp1.6": "NotImplemented NotSupported InternalError ProtocolError SecurityError "
    "FormationViolation PropertyConstraintViolation OccurenceConstraintViolation "
    "TypeConstraintViolation GenericError",
    "ocpp2.0.1": "FormatViolation GenericError InternalError MessageTypeNotSupported "
    "NotImplemented NotSupported OccurrenceConstraintViolation PropertyConstraintViolation "
    "ProtocolError RpcFrameworkError SecurityError TypeConstraintViolation",
}
_numbers = itertools.count(1)
_TIME = re.compile(r"@(now|naive|paris_as_z|paris)((?:[+-]\d+[dhms]|\d+[dhms])*)")
_STEP = re.compile(r"([+-]?)(\d+)([dhms])")
_UNITS = {"d": "days", "h": "hours", "m": "minutes", "s": "seconds"}
_WILD = re.compile(r'"(?:[^"\\]|\\.)*"|\*|\$\w+|\.\.\.')
_SPEECH = re.compile(r"(?:(\w+) )?([<>]) (.*)", re.DOTALL)


class Service:
    """A gateway that runs in this loop, in a task of its own, until it is told to stop."""

    def __init__(self, settings: Settings, database: db.Database) -> None:
        self.settings = settings
        self.database = database
        self.port = 0
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._stopping.clear()
        ready: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._run(ready))
        await asyncio.wait((ready, self._task), return_when=asyncio.FIRST_COMPLETED)
        if self._task.done():
            self._task.result()
        self.port = ready.result()

    async def _run(self, ready: asyncio.Future[int]) -> None:
        async with open_service(self.settings, only="gateway") as ports:
            ready.set_result(ports[0])
            await self._stopping.wait()

    async def stop(self) -> None:
        self._stopping.set()
        if self._task is not None:
            await self._task

    async def restart(self) -> None:
        """Stop, and start with the settings as they are now."""
        await self.stop()
        await self.start()


@contextlib.asynccontextmanager
async def running_on(
    server: EmbeddedServer,
    administrator: psycopg.Connection,
    template: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Service]:
    """A service on a database of its own, for the transcripts of one module.

    What it writes beside its answers it writes sooner than in production.
    """
    name = f"transcripts_{next(_numbers)}"
    create_database(administrator, name, template)
    database = database_on(server, name)
    ocpp_port, http_port = free_ports(2)
    settings = Settings(
        database_url=database.app_url,
        database_owner_url=database.owner_url,
        data_dir=tmp_path_factory.mktemp("data"),
        ocpp_port=ocpp_port,
        http_port=http_port,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("csms.observations.PERIOD_S", 0.05)
        patch.setattr("csms.wire.gateway.SWEEP_PERIOD_S", 0.05)
        service = Service(settings, database)
        await service.start()
        try:
            yield service
        finally:
            await service.stop()
            drop_database(administrator, name)


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
            for number, line in _lines(text):
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
        line = _TIME.sub(lambda found: self._time(found[1], found[2]), line)
        return re.sub(r"\bBADGE(\w*)", rf"BADGE\g<1>-{self.number}", line)

    def _time(self, kind: str, steps: str) -> str:
        moment, sign = self.began_at, 1
        for stated, count, unit in _STEP.findall(steps):
            sign = {"+": 1, "-": -1}.get(stated, sign)
            moment += sign * timedelta(**{_UNITS[unit]: int(count)})
        if kind.startswith("paris"):
            moment = moment.astimezone(ZoneInfo("Europe/Paris"))
        zone = "Z" if kind in ("now", "paris_as_z") else ""
        return f"{moment:%Y-%m-%dT%H:%M:%S}{zone}"

    async def _line(self, line: str) -> None:
        speech = _SPEECH.fullmatch(line)
        if speech is not None:
            peer = self.peers[speech[1]] if speech[1] else self.first
            await (self._send if speech[2] == ">" else self._expect)(peer, speech[3])
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
        text = _WILD.sub(
            lambda m: json.dumps(self.known[m[0][1:]]) if m[0][0] == "$" else m[0], text
        )
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
        assert self._matches(_pattern(text), frame), f"got {str(got)[:1000]}"
        if frame[0] == 3:
            action = peer.asked.get(frame[1])
            if action is not None:
                validator(peer.protocol, action).validate(frame[2])
        else:
            kind, _, code, description, details = frame
            assert kind == 4
            assert code in ERROR_CODES[peer.protocol].split(), code
            assert len(description) <= 255 and isinstance(details, dict)

    def _matches(self, expected: Any, got: Any) -> bool:
        if isinstance(expected, str) and expected.startswith("\x00"):
            if expected == "\x00*":
                return True
            name = expected[2:]
            return bool(self.known.setdefault(name, got) == got)
        if isinstance(expected, dict) and isinstance(got, dict):
            rest = expected.keys() >= {"\x00..."}
            wanted = expected.keys() - {"\x00..."}
            return (wanted <= got.keys() if rest else wanted == got.keys()) and all(
                self._matches(expected[name], got[name]) for name in wanted
            )
        if isinstance(expected, list) and isinstance(got, list):
            return len(expected) == len(got) and all(map(self._matches, expected, got))
        return type(expected) is type(got) and bool(expected == got)

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
            name: _shown(row[name])
            for name, value in expected.items()
            if not _fits(value, row[name])
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
                all(_fits(value, _column(row, name)) for name, value in options.items())
                for row in rows
            )
            if enough(found):
                return
            if asyncio.get_running_loop().time() > deadline_s:
                seen = [{name: _shown(_column(row, name)) for name in options} for row in rows]
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


@cache
def validator(protocol: str, action: str) -> Any:
    """Of the response to an action."""
    schema = load_schema(protocol, action, response=True)
    return jsonschema.validators.validator_for(schema)(
        schema, format_checker=jsonschema.FormatChecker()
    )


def _lines(text: str) -> list[tuple[int, str]]:
    """(number, line) of all that is to be played, continued lines joined."""
    lines: list[tuple[int, str]] = []
    for number, line in enumerate(text.splitlines(), 1):
        if line[:1].isspace() and line.strip():
            first, former = lines[-1]
            lines[-1] = (first, f"{former} {line.strip()}")
        elif line.strip() and not line.startswith("#"):
            lines.append((number, line.rstrip()))
    return lines


def _pattern(text: str) -> Any:
    """An expected frame; what is no JSON in it becomes texts that begin with NUL."""

    def mark(found: re.Match[str]) -> str:
        token = found[0]
        if token[0] == '"':
            return token
        return '"\\u0000...":0' if token == "..." else f'"\\u0000{token}"'

    return json.loads(_WILD.sub(mark, text))


def _fits(expected: str, got: Any) -> bool:
    """Whether a column holds what the transcript says."""
    if expected == "-" or got is None:
        return expected == "-" and got is None
    if isinstance(got, list):
        return sorted(filter(None, expected.split(","))) == sorted(map(str, got))
    if isinstance(got, datetime):
        return datetime.fromisoformat(expected) == got
    if isinstance(got, bool):
        return expected == str(got).lower()
    if isinstance(got, int | float | Decimal):
        with contextlib.suppress(InvalidOperation):
            return Decimal(expected) == Decimal(str(got))
        return False
    return expected == str(got)


def _column(row: dict[str, Any], name: str) -> Any:
    value: Any = row
    for part in name.split("."):
        if isinstance(value, list):
            value = value[int(part)] if int(part) < len(value) else None
        else:
            value = value.get(part) if isinstance(value, dict) else None
    return value


def _shown(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _shown(item) for name, item in value.items()}
    return value if isinstance(value, int | float | list | None) else str(value)
