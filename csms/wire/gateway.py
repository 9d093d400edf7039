"""The websocket server: stations come in, frames go to the dispatcher, answers go back.

Frames are handled synchronously in the protocol's own callback, not by a coroutine per message:
that is where the speed comes from, and why back pressure is ours to keep. The newest link of a
station wins, an older one may only clean up after itself.
"""

import asyncio
import contextlib
import logging
import random
import ssl
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

import psycopg
from psycopg import AsyncConnection
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory
from websockets.frames import CloseCode, Opcode
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from csms import db, metrics
from csms.config import SettingError, Settings
from csms.domain.station import Station
from csms.domain.values import UTC
from csms.recorder import Recorder
from csms.store import connections, lookup
from csms.telemetry import Telemetry
from csms.wire.admission import Admission, Knock, Refusal, Welcome
from csms.wire.dispatch import Dispatcher
from csms.wire.frames import Frame
from csms.wire.link import Link, StationConnection
from csms.wire.outbox import Outbox
from csms.wire.outside import Outside
from csms.wire.tls import server_context

log = logging.getLogger(__name__)

SWEEP_PERIOD_S: Final = 1.0
FLUSH_PERIOD_S: Final = 0.05  # connections that opened or closed, when they are many
CROWD: Final = 8
TOUCH_PERIOD_S: Final = 10.0  # last_seen_at of those that stay
NODE_SILENT_S: Final = 1.5 * TOUCH_PERIOD_S  # another node holds no station any more
WRITE_BUFFER_BYTES_MAX: Final = 1 << 20  # a station that reads so late is cut
RETRY_AFTER_S_MAX: Final = 30
DRAIN_BATCH: Final = 20  # links that a stopping node closes in one go
MOVED: Final = "a newer connection took over, on another node"
_DATA: Final = (Opcode.TEXT, Opcode.BINARY, Opcode.CONT)


class Gateway:
    """All links of this node. `run` must be running.

    Several nodes may share a database. Each connection takes a generation from it when it is let
    in; the row of `station_connection` names the node with the highest one, and a node whose link
    is not the newest any more is told, and closes it.
    """

    def __init__(
        self,
        database: db.Database,
        settings: Settings,
        recorder: Recorder,
        telemetry: Telemetry | None = None,
    ) -> None:
        self.database = database
        self.telemetry = telemetry or Telemetry(replace(settings, mqtt_url=None))
        self.settings = settings
        self.recorder = recorder
        self.dispatcher = Dispatcher(recorder)
        self.admission = Admission(database, settings)
        self.draining = False  # takes no more stations: the node is about to stop
        self.loop = asyncio.get_running_loop()
        self.links: dict[str, Link] = {}  # the newest of each station
        self.paused: set[Link] = set()
        self.servers: list[Server] = []
        self.ports: list[int] = []
        self._link_count: dict[Station, int] = {}
        self._opened: dict[int, Link] = {}
        self._closed: dict[int, tuple[Link, datetime]] = {}
        self._changed = asyncio.Event()  # somebody connected or left
        self._started_at = datetime.now(UTC)
        self.outbox = Outbox(database, settings, recorder, self.links)
        self.telemetry.on_wake = self._hinted
        recorder.wake = self.outbox.wake
        recorder.ask_outside = Outside(settings).ask
        metrics.SESSIONS_OPEN.set_function(recorder.count_open_sessions)

    async def start(self) -> None:
        """Open the ports: plain, and TLS beside it when a certificate is set.

        Raises: SettingError for a port that cannot be opened, a certificate that cannot be used;
        another port may be open then.
        """
        with contextlib.suppress(psycopg.Error, OSError):
            async with await db.connect(self.database) as connection:
                # What a former life of this node left open; the recorder's lock says it is over.
                await connections.close_connections_of(
                    connection, self.settings.node, self._started_at, cut=True
                )
                await self._touch_node(connection, self._started_at)
        context = server_context(self.settings) if self.settings.tls_cert else None
        try:
            await self._listen(self.settings.ocpp_port, None)
        except OSError as error:
            raise port_taken("OCPP", self.settings.ocpp_port) from error
        if context is None:
            return
        try:
            await self._listen(self.settings.ocpps_port, context)
        except OSError as error:
            raise port_taken("OCPPS", self.settings.ocpps_port) from error

    async def _listen(self, port: int, context: ssl.SSLContext | None) -> None:
        server = await serve(
            self._open,
            self.settings.host,
            port,
            ssl=context,
            create_connection=StationConnection,
            process_request=self._admit,
            process_response=self._admitted,
            select_subprotocol=_select_subprotocol,
            compression=None,
            open_timeout=self.settings.handshake_timeout_s,
            ping_interval=None,
            max_size=self.settings.frame_bytes_max,
            write_limit=WRITE_BUFFER_BYTES_MAX,
            server_header=None,
            backlog=4096,
        )
        self.servers.append(server)
        self.ports.extend(socket.getsockname()[1] for socket in server.sockets)

    async def run(self) -> None:
        """Admit, ping, and tell the database who is connected, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.admission.run())
            tasks.create_task(self._sweep())
            tasks.create_task(self._keep_connections())
            tasks.create_task(self._listen_to_changes())
            tasks.create_task(self.outbox.run())

    async def stop(self) -> None:
        """Take no more stations, answer what was received, say goodbye.

        The goodbyes are spread over `drain_s`, so that the other nodes are not stormed.
        """
        self.draining = True
        for server in self.servers:
            server.close(close_connections=False)
        await self.outbox.drain(self.settings.drain_timeout_s)
        await self._send_away(self.settings.drain_s)
        for link in list(self.links.values()):
            link.pause()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.settings.commit_timeout_s):
                await self.recorder.drain()
        for link in list(self.links.values()):
            link.close(CloseCode.SERVICE_RESTART, "restart")
        for link in list(self.links.values()):
            link.resume()
        for server in self.servers:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(5):
                    await server.wait_closed()
        await self._leave()

    async def _send_away(self, over_s: float) -> None:
        """Close the links one after the other, the answers to their frames first."""
        links = random.sample(list(self.links.values()), len(self.links)) if over_s else []
        for number, link in enumerate(links, 1):
            link.pause()
            if not link.station.pending:
                link.close(CloseCode.SERVICE_RESTART, "this node restarts; another one is there")
            else:
                link.resume()  # it has its turn with the rest, behind `Recorder.drain`
            if number % DRAIN_BATCH == 0 or number == len(links):
                await asyncio.sleep(over_s * DRAIN_BATCH / len(links))

    async def _leave(self) -> None:
        """Tell the database that this node holds nothing any more."""
        with contextlib.suppress(psycopg.Error, OSError):
            async with await db.connect(self.database) as connection:
                await self._flush(connection)
                await connections.close_connections_of(
                    connection, self.settings.node, datetime.now(UTC), cut=False
                )

    # --- Handshake ------------------------------------------------------------------------------

    async def _admit(self, connection: ServerConnection, request: Request) -> Response | None:
        """Decide a handshake; a response refuses it."""
        assert isinstance(connection, StationConnection)
        headers = request.headers
        if "upgrade" not in headers.get("Connection", "").lower() and "Upgrade" in headers:
            with contextlib.suppress(KeyError):
                del headers["Connection"]
            headers["Connection"] = "Upgrade"  # some stations leave it out (field case 27)
        remote = _remote_address(connection)
        tls = connection.transport.get_extra_info("ssl_object")
        offered = ",".join(headers.get_all("Sec-WebSocket-Protocol"))
        knock = Knock(
            request.path,
            remote,
            headers.get("Authorization"),
            tuple(name.strip() for name in offered.split(",") if name.strip())[:10],
            tls is not None,
            tls.getpeercert(binary_form=True) if tls is not None else None,
        )
        if not self.recorder.up.is_set():
            decision: Welcome | Refusal = Refusal(503, "database", "The database is away.\n")
        else:
            decision = await self.admission.decide(knock, datetime.now(UTC))
        if isinstance(decision, Refusal):
            response = connection.respond(decision.status, decision.text)
            if decision.status == 401:
                response.headers["WWW-Authenticate"] = 'Basic realm="OCPP"'
            if decision.status == 503:
                # Spread over time, so that those refused together do not come back together.
                response.headers["Retry-After"] = str(random.randint(1, RETRY_AFTER_S_MAX))  # noqa: S311
            return response
        if connection.transport.is_closing():
            return connection.respond(503, "")  # gone meanwhile: a link would never hear of it
        if decision.row.compression:
            connection.protocol.available_extensions = [ServerPerMessageDeflateFactory()]
        station = self.recorder.station_of(decision.row)
        if decision.row.node not in (None, self.settings.node):
            station.stale = True  # it was elsewhere since this node last knew it
        connection.link = Link(
            self,
            connection,
            station,
            decision.row,
            decision.protocol,
            remote,
            decision.generation,
        )
        self._link_count[station] = self._link_count.get(station, 0) + 1
        return None

    def _admitted(self, connection: ServerConnection, request: Request, response: Response) -> None:
        """The handshake is about to be answered: from now on this link is the station's."""
        assert isinstance(connection, StationConnection)
        link = connection.link
        if link is None or response.status_code != 101:
            return
        former = self.links.get(link.station.id)
        if former is not None and former.generation > link.generation:
            link.close(CloseCode.POLICY_VIOLATION, "a newer connection took over")
            return  # its password took longer to check than that of the one after it
        self.links[link.station.id] = link
        if former is not None:
            former.close(CloseCode.POLICY_VIOLATION, "a newer connection took over")
        else:
            metrics.STATIONS_CONNECTED.inc()
        metrics.HANDSHAKES.labels("accepted").inc()
        self._opened[link.station.key] = link
        self._changed.set()
        self._closed.pop(link.station.key, None)
        self.recorder.loaded = len(self.links) > self.settings.group_loaded_stations

    async def _open(self, connection: ServerConnection) -> None:
        """Stay while the connection is open; frames come through its protocol's callback."""
        for handshake in (connection.request, connection.response):
            if handshake is not None:
                handshake.headers.clear()  # read, and a kilobyte for each station
        await connection.wait_closed()

    def link_lost(self, link: Link) -> None:
        """A link is gone. The station is offline only if this was its newest."""
        station = link.station
        left = self._link_count.get(station, 1) - 1
        if left:
            self._link_count[station] = left
        else:
            self._link_count.pop(station, None)
            self.recorder.release(station)
        if self.links.get(station.id) is link:
            del self.links[station.id]
            metrics.STATIONS_CONNECTED.dec()
            self._closed[station.key] = (link, datetime.now(UTC))
            self._changed.set()

    def booted(self, link: Link) -> None:
        """A station booted: what was ordered of it may go out."""
        self.outbox.offer(link)

    def answer_unasked(self, link: Link, frame: Frame) -> None:
        """An answer that no call waits for: late, or nobody's."""
        self.outbox.take_late(link, frame)

    def resume_if_room(self, link: Link) -> None:
        """Read on from a link that had too much unanswered."""
        recorder = self.recorder
        if (
            recorder.waiting(link.station) * 2 <= self.settings.unanswered_frames_max
            and recorder.unanswered < self.settings.unanswered_frames_total_max
        ):
            self.paused.discard(link)
            link.resume()

    # --- Running --------------------------------------------------------------------------------

    async def _sweep(self) -> None:
        """Ping by each station's policy; cut what has been silent too long (field case 25)."""
        while True:
            await asyncio.sleep(SWEEP_PERIOD_S)
            now_s = self.loop.time()
            for link in list(self.links.values()):
                if now_s - link.heard_at > self.settings.silence_timeout_s and link.pinged_at:
                    link.connection.transport.abort()
                elif link.ping_interval_s and now_s - max(link.pinged_at, link.heard_at) >= (
                    link.ping_interval_s
                ):
                    link.ping()
            for link in list(self.paused):
                self.resume_if_room(link)

    async def _keep_connections(self) -> None:
        """Write who is connected and when each was last heard of, and who was refused."""
        touched_s = -TOUCH_PERIOD_S  # this node is told of at once
        async with db.Line(self.database) as line:
            while True:
                db.raise_if_cancelled()
                await self._until_connections_change()
                due = self.loop.time() - touched_s >= TOUCH_PERIOD_S
                if not (self._opened or self._closed or due or self.admission.has_news):
                    continue
                try:
                    connection = await line.get()
                    await self._flush(connection)
                    if due:
                        await self._touch(connection)
                        touched_s = self.loop.time()
                except (psycopg.Error, OSError) as error:
                    db.raise_if_cancelled()
                    log.warning("who is connected was not written: %s", str(error).strip())
                    for link in self.links.values():
                        link.touched_at = 0.0  # the others may have taken this node for dead
                    await line.drop()
                    await asyncio.sleep(1.0)

    async def _until_connections_change(self) -> None:
        """Wait until there is something to write; when many come and go, let them gather."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SWEEP_PERIOD_S):
                await self._changed.wait()
        self._changed.clear()
        if len(self._opened) + len(self._closed) > CROWD:
            await asyncio.sleep(FLUSH_PERIOD_S)

    async def _flush(self, connection: AsyncConnection) -> None:
        opened, self._opened = self._opened, {}
        closed, self._closed = self._closed, {}
        try:
            if opened:
                await self._register(connection, opened)
            if closed:
                left = await connections.touch_connections(
                    connection,
                    self.settings.node,
                    [_seen_row(link, at) | {"disconnected_at": at} for link, at in closed.values()],
                )
                for key, (link, at) in closed.items():
                    if key in left:
                        self.telemetry.station_connected(link.station.id, False, at)
        except (psycopg.Error, OSError):
            # What happened meanwhile is newer: a station that is back is not closed again.
            self._opened = {
                key: link for key, link in opened.items() if key not in self._closed
            } | self._opened
            self._closed = {
                key: gone for key, gone in closed.items() if key not in self._opened
            } | self._closed
            raise
        await self.admission.flush(connection)

    async def _register(self, connection: AsyncConnection, opened: dict[int, Link]) -> None:
        """Make the links the database's. One that is not the newest is closed."""
        rows = [self._connection_row(link) for link in opened.values()]
        taken = await connections.open_connections(
            connection, rows, self.settings.node, NODE_SILENT_S
        )
        for key, link in opened.items():
            if key in taken:
                link.registered = True
                self.telemetry.station_connected(link.station.id, True, link.opened_at)
                self.outbox.offer(link)
            else:
                link.close(CloseCode.POLICY_VIOLATION, MOVED)

    def _connection_row(self, link: Link) -> dict[str, Any]:
        return {
            "station_key": link.station.key,
            "node": self.settings.node,
            "generation": link.generation,
            "protocol": link.protocol or "",
            "remote_address": link.remote_address,
            "connected_at": link.opened_at,
        }

    async def _touch(self, connection: AsyncConnection) -> None:
        now_s, now = self.loop.time(), time.time()
        rows = []
        for link in self.links.values():
            if link.heard_at > link.touched_at:
                link.touched_at = link.heard_at
                seen_at = datetime.fromtimestamp(now - (now_s - link.heard_at), UTC)
                rows.append(_seen_row(link, seen_at))
        await self._touch_node(connection, datetime.fromtimestamp(now, UTC))
        if rows:
            await connections.touch_connections(connection, self.settings.node, rows)

    async def _touch_node(self, connection: AsyncConnection, now: datetime) -> None:
        await connections.touch_node(
            connection, self.settings.node, self._started_at, now, self.draining
        )

    async def _listen_to_changes(self) -> None:
        """Follow what people change: stations and their sessions, quirks.

        Whatever was missed while the connection was away is made good by loading all anew.
        """
        while True:
            try:
                async with await db.connect(self.database) as connection:
                    await connections.listen(connection)
                    self.recorder.reconsider_quirks(await lookup.fetch_quirks(connection))
                    async for notice in connection.notifies():
                        if notice.channel == "t2p_command":
                            self.outbox.wake(notice.payload)
                        elif notice.channel == "t2p_moved":
                            self._moved(notice.payload)
                        elif notice.channel == "t2p_quirk":
                            self.recorder.reconsider_quirks(await lookup.fetch_quirks(connection))
                        else:
                            await self._station_changed(notice.payload)
            except (psycopg.Error, OSError) as error:
                db.raise_if_cancelled()
                log.warning("changes are not followed: %s", str(error).strip())
            await asyncio.sleep(self.settings.database_retry_s)
            for station_id in list(self.recorder.stations):
                self.recorder.refresh(station_id)

    def _hinted(self, kind: str, subject: str) -> None:
        """A hint by MQTT, from whomever: it makes us look, no more."""
        if kind == "command":
            self.outbox.wake(subject)

    def _moved(self, notice: str) -> None:
        """A station connected to another node: "generation id". An older link here is over."""
        generation, _, station_id = notice.partition(" ")
        link = self.links.get(station_id)
        if link is not None and link.generation < int(generation):
            link.close(CloseCode.POLICY_VIOLATION, MOVED)

    async def _station_changed(self, station_id: str) -> None:
        """Load a changed station anew; one that was retired has to go."""
        self.recorder.refresh(station_id)
        link = self.links.get(station_id)
        if link is None:
            return
        with contextlib.suppress(psycopg.Error, OSError):
            if await self.admission.fetch(station_id) is None:
                link.close(CloseCode.POLICY_VIOLATION, "the station was retired")


def _seen_row(link: Link, at: datetime) -> dict[str, Any]:
    return {"station_key": link.station.key, "generation": link.generation, "last_seen_at": at}


def port_taken(what: str, port: int) -> SettingError:
    """What to tell when the port of a setting cannot be opened."""
    return SettingError(
        f"{what} port {port} cannot be opened; is another server running there? "
        f"Set T2P_{what}_PORT to another one."
    )


def _select_subprotocol(
    connection: ServerConnection, subprotocols: Sequence[Subprotocol]
) -> Subprotocol | None:
    """The protocol that the admission chose, if the station offered any."""
    assert isinstance(connection, StationConnection)
    link = connection.link
    if link is None or link.protocol is None or link.protocol not in subprotocols:
        return None
    return Subprotocol(link.protocol)


def _remote_address(connection: ServerConnection) -> str:
    address = connection.remote_address
    return str(address[0]) if isinstance(address, tuple) and address else str(address or "")
