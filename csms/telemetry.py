"""What may be lost, by MQTT: live values, changes of status, session events, and wake-ups.

Topics; payloads are JSON with units in the names, times are RFC 3339 in UTC. Identities are
percent-encoded where they are a level, so that a `/`, `+` or `#` in one cannot lead elsewhere.

    t2p/nodes/{node}                             R  alive, at; alive is false by its last will
    t2p/stations/{id}/connection                 R  connected, node, at
    t2p/stations/{id}/evses/{evse_id}/status     R  status, error_code, at
    .../evses/{evse_id}/connectors/{connector_id}/status
                                                 R  the same of a connector
    t2p/stations/{id}/evses/{evse_id}/live          session_id, energy_wh, register_wh, power_w, at
    t2p/stations/{id}/sessions                      event (started, ended, lost, ...), session_id,
                                                    transaction_id, evse_id, state, energy_wh, at
    t2p/wake/{node}/{kind}                          subject: a hint to one of our own nodes

R: retained. An EVSE without a number is `0`. Badges are not published: whoever reads these topics
is a machine that needs to know that somebody charges, not who (the operator API tells those who may
know).

Nothing here is the truth: that is in the database, and everything is published after its commit.
Frames never wait for a broker. What cannot be sent is kept newest first, bounded, and counted.
"""

import asyncio
import logging
import ssl
from collections import deque
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final, NamedTuple
from urllib.parse import quote, unquote, urlsplit

import aiomqtt
import msgspec

from csms import metrics
from csms.config import SettingError, Settings
from csms.domain.values import UTC
from csms.exchange import Group

log = logging.getLogger(__name__)

ROOT: Final = "t2p"
TOPICS_MAX: Final = 500_000  # retained ones that are told anew to a broker that is back
_RETRY_MIN_S, _RETRY_MAX_S = 0.5, 30.0
_PUBLISH_TIMEOUT_S: Final = 10.0
_PORTS: Final = {"mqtt": 1883, "mqtts": 8883}


class _Message(NamedTuple):
    topic: str
    content: dict[str, Any]
    retain: bool


class _Live(NamedTuple):
    """What a session shows at a moment."""

    session_id: int
    energy_wh: int | None
    register_wh: float | None
    power_w: float | None
    at: datetime | None


class Telemetry:
    """Publishes for one process. `run` must be running; without a URL it does nothing, for nothing.

    `on_wake(kind, subject)` is called for hints to this node.
    """

    def __init__(self, settings: Settings, *, on_wake: Callable[[str, str], None] | None = None):
        self._settings = settings
        self.on_wake = on_wake
        self.enabled = settings.mqtt_url is not None
        self.connected = False
        self._waiting: deque[_Message] = deque()
        #: what was last published of each retained topic, for a broker that lost it
        self._state: dict[str, _Message] = {}
        self._untold: deque[str] = deque()  # topics of these that the broker has yet to be told
        self._live: dict[tuple[str, int | None], _Live] = {}
        self._live_due_s = 0.0
        self._wake = asyncio.Event()

    # --- What happened, in memory: never waits ----------------------------------------------------

    def published(self, group: Group) -> None:
        """A group was committed."""
        if not self.enabled:
            return
        for row in group.statuses:
            self._note_status(group.station_ids[row["station_key"]], row)
        for row in group.evidence_rows:
            found = group.sessions.get(row["session_id"])
            if found is not None:
                station, session = found
                self._note(
                    _Message(
                        f"{_station(station.id)}/sessions",
                        {
                            "event": row["kind"],
                            "session_id": session.id,
                            "transaction_id": session.transaction_id,
                            "evse_id": session.evse_id,
                            "state": session.state.value,
                            "energy_wh": session.energy_wh,
                            "at": row["received_at"],
                        },
                        retain=False,
                    )
                )
        for station, session in group.sessions.values():
            self._live[station.id, session.evse_id] = _Live(
                session.id,
                session.energy_wh,
                session.last_register_wh,
                session.power_w,
                session.last_register_at,
            )
        if self._live and not self._live_due_s:
            self._live_due_s = asyncio.get_running_loop().time() + self._settings.telemetry_live_s
            self._wake.set()

    def _note_status(self, station_id: str, row: dict[str, Any]) -> None:
        place = f"{_station(station_id)}/evses/{row['evse_id']}"
        if row["connector_id"] is not None:
            place += f"/connectors/{row['connector_id']}"
        content = {name: row[name] for name in ("status", "error_code", "at")}
        self._note(_Message(f"{place}/status", content, retain=True))

    def station_connected(self, station_id: str, connected: bool, at: datetime) -> None:
        """A station came to this node, or left it and is nowhere."""
        if self.enabled:
            node = self._settings.node if connected else None
            content = {"connected": connected, "node": node, "at": at}
            self._note(_Message(f"{_station(station_id)}/connection", content, retain=True))

    def wake(self, node: str, kind: str, subject: str) -> bool:
        """Send a hint to a node; False when no broker takes it, and another way must be found."""
        if not self.connected:
            return False
        topic = f"{ROOT}/wake/{quote(node, safe='')}/{kind}"
        self._note(_Message(topic, {"subject": subject}, retain=False))
        return True

    def _note(self, message: _Message) -> None:
        if message.retain and (message.topic in self._state or len(self._state) < TOPICS_MAX):
            self._state[message.topic] = message
        if not self.connected and message.retain:
            return  # told when the broker is back
        if len(self._waiting) >= self._settings.telemetry_queue_events_max:
            self._waiting.popleft()
            metrics.MQTT_DROPPED.inc()
        self._waiting.append(message)
        self._wake.set()

    # --- The broker -------------------------------------------------------------------------------

    async def run(self) -> None:
        """Keep a connection and publish until cancelled."""
        if self._settings.mqtt_url is None:
            return
        retry_s = _RETRY_MIN_S
        while True:
            try:
                async with _client(self._settings, gateway=self.on_wake is not None) as client:
                    retry_s = _RETRY_MIN_S
                    await self._serve(client)
            except (aiomqtt.MqttError, OSError, TimeoutError) as error:
                log.warning("the MQTT broker is away: %s", error)
            finally:
                self.connected = False
                metrics.MQTT_CONNECTED.set(0)
            await asyncio.sleep(retry_s)
            retry_s = min(retry_s * 2, _RETRY_MAX_S)

    async def _serve(self, client: aiomqtt.Client) -> None:
        own = quote(self._settings.node, safe="")
        if self.on_wake is not None:
            await client.subscribe(f"{ROOT}/wake/{own}/+")
            alive = {"alive": True, "at": datetime.now(UTC)}
            await self._publish(client, _Message(_node(self._settings), alive, retain=True))
        self.connected = True
        metrics.MQTT_CONNECTED.set(1)
        self._untold = deque(self._state)
        both = [asyncio.create_task(self._send(client)), asyncio.create_task(self._listen(client))]
        try:
            done, _ = await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in both:
                task.cancel()
            await asyncio.gather(*both, return_exceptions=True)

    async def _listen(self, client: aiomqtt.Client) -> None:
        async for message in client.messages:
            self._heard(message)

    async def _send(self, client: aiomqtt.Client) -> None:
        while True:
            await self._until_due()
            while self._waiting or self._untold:
                if self._waiting:
                    await self._publish(client, self._waiting.popleft())
                if self._untold:  # in turn: to tell a broker all anew holds back no wake-up
                    await self._publish(client, self._state[self._untold.popleft()])

    async def _until_due(self) -> None:
        """Wait for something to send; live values are due every so often, the newest of each."""
        clock = asyncio.get_running_loop().time
        while not (self._waiting or self._untold):
            self._wake.clear()
            left_s = self._live_due_s - clock() if self._live_due_s else None
            if left_s is not None and left_s <= 0:
                self._live_due_s = 0.0
                live, self._live = self._live, {}
                self._waiting.extend(_live_message(*item) for item in live.items())
                continue
            try:
                async with asyncio.timeout(left_s):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _publish(self, client: aiomqtt.Client, message: _Message) -> None:
        await client.publish(
            message.topic,
            msgspec.json.encode(message.content),
            qos=0,
            retain=message.retain,
            timeout=_PUBLISH_TIMEOUT_S,
        )
        metrics.MQTT_PUBLISHED.inc()

    def _heard(self, message: aiomqtt.Message) -> None:
        """A hint; anything may write there, so nothing in it is trusted but as a hint."""
        kind = message.topic.value.rpartition("/")[2]
        try:
            subject = msgspec.json.decode(message.payload or b"", type=dict[str, str])["subject"]
        except (msgspec.MsgspecError, KeyError, TypeError):
            return
        if self.on_wake is not None:
            self.on_wake(kind, subject)


def _client(settings: Settings, *, gateway: bool) -> aiomqtt.Client:
    """A client for the broker of T2P_MQTT_URL, which `check_url` has accepted. A gateway leaves a
    last will; a process that only wakes others does not stand for its node."""
    parts = urlsplit(settings.mqtt_url or "")
    assert parts.hostname
    gone = msgspec.json.encode({"alive": False, "at": datetime.now(UTC)})
    return aiomqtt.Client(
        parts.hostname,
        parts.port or _PORTS[parts.scheme],
        username=None if parts.username is None else unquote(parts.username),
        password=None if parts.password is None else unquote(parts.password),
        tls_context=ssl.create_default_context() if parts.scheme == "mqtts" else None,
        will=aiomqtt.Will(_node(settings), gone, qos=0, retain=True) if gateway else None,
        max_queued_incoming_messages=10_000,
        timeout=_PUBLISH_TIMEOUT_S,
    )


def check_url(settings: Settings) -> None:
    """Accept the broker's URL, or none. Raises: SettingError."""
    if settings.mqtt_url is not None:
        parts = urlsplit(settings.mqtt_url)
        if parts.scheme not in _PORTS or not parts.hostname:
            raise SettingError(
                "T2P_MQTT_URL takes mqtt://HOST[:PORT] or mqtts://HOST[:PORT], with USER:PASSWORD@ "
                "before the host where the broker wants them"
            )


def _live_message(where: tuple[str, int | None], live: _Live) -> _Message:
    station_id, evse_id = where
    return _Message(f"{_station(station_id)}/evses/{evse_id or 0}/live", live._asdict(), False)


def _station(station_id: str) -> str:
    return f"{ROOT}/stations/{quote(station_id, safe='')}"


def _node(settings: Settings) -> str:
    return f"{ROOT}/nodes/{quote(settings.node, safe='')}"
