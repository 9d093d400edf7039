"""A small MQTT broker for the demonstration, for tests and for evaluation on one machine.

MQTT 3.1.1 over TCP on the loopback, without passwords: publish with QoS 0 and 1, delivered with
QoS 0; retained messages, wildcards, last wills, keep-alive. No sessions outlive their connection.
Production takes Mosquitto or EMQX. It is our own because the Python broker that is kept up to date
(amqtt) cannot be installed beside the websockets library that the gateway stands on.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

log = logging.getLogger(__name__)

CONNECTIONS_MAX: Final = 1_000
PACKET_BYTES_MAX: Final = 256 * 1024
RETAINED_MAX: Final = 100_000
BACKLOG_BYTES_MAX: Final = 4 * 1024 * 1024  # unread by a subscriber: it is cut
CONNECT_TIMEOUT_S: Final = 10.0

# Packet types, MQTT 3.1.1, section 2.2.1.
_CONNECT, _CONNACK, _PUBLISH, _PUBACK = 1, 2, 3, 4
_SUBSCRIBE, _SUBACK, _UNSUBSCRIBE, _UNSUBACK = 8, 9, 10, 11
_PINGREQ, _PINGRESP, _DISCONNECT = 12, 13, 14


class _ProtocolError(Exception):
    """A client that does not speak MQTT 3.1.1; its connection ends."""


@dataclass(frozen=True, slots=True)
class _Message:
    topic: str
    payload: bytes
    retain: bool


@dataclass(eq=False, slots=True)
class _Client:
    id: str
    writer: asyncio.StreamWriter
    keep_alive_s: int
    will: _Message | None
    filters: set[str] = field(default_factory=set)


class Broker:
    """The broker; `open` runs it."""

    def __init__(self, port: int = 0) -> None:
        self.port = port  # 0: a free one, known once it is open
        self._clients: dict[str, _Client] = {}
        self._retained: dict[str, bytes] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """What T2P_MQTT_URL takes."""
        return f"mqtt://127.0.0.1:{self.port}"

    @asynccontextmanager
    async def open(self) -> AsyncIterator["Broker"]:
        """Running within the block. Raises: OSError when the port is taken."""
        server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for client in list(self._clients.values()):
                client.will = None
                client.writer.transport.abort()
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            if len(self._tasks) <= CONNECTIONS_MAX:
                await self._serve(reader, writer)
        except (OSError, _ProtocolError, asyncio.IncompleteReadError, TimeoutError) as error:
            log.debug("a client of the embedded broker ended: %r", error)
        except asyncio.CancelledError:
            pass  # the broker closes; streams log the cancellation of such a task as an error
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            kind, _, body = await _read_packet(reader)
        if kind != _CONNECT:
            raise _ProtocolError("the first packet is not CONNECT")
        client = _read_connect(body, writer)
        former = self._clients.get(client.id)
        if former is not None:  # 3.1.4: the newer one wins
            former.writer.transport.abort()
        self._clients[client.id] = client
        writer.write(_packet(_CONNACK, b"\x00\x00"))
        try:
            await self._converse(client, reader)
            client.will = None  # it said goodbye
        finally:
            if self._clients.get(client.id) is client:
                del self._clients[client.id]
            if client.will is not None:
                self._publish(client.will)

    async def _converse(self, client: _Client, reader: asyncio.StreamReader) -> None:
        patience_s = client.keep_alive_s * 1.5 if client.keep_alive_s else None  # 3.1.2.10
        while True:
            async with asyncio.timeout(patience_s):
                kind, flags, body = await _read_packet(reader)
            if kind == _DISCONNECT:
                return
            self._take(client, kind, flags, body)
            await client.writer.drain()

    def _take(self, client: _Client, kind: int, flags: int, body: bytes) -> None:
        write = client.writer.write
        if kind == _PUBLISH:
            message, packet_id = _read_publish(flags, body)
            self._publish(message)
            if packet_id is not None:
                write(_packet(_PUBACK, packet_id))
        elif kind == _SUBSCRIBE:
            filters = _read_filters(body, with_qos=True)
            client.filters.update(filters)
            write(_packet(_SUBACK, body[:2] + bytes(len(filters))))  # each granted with QoS 0
            for topic, payload in self._retained.items():
                if any(fits(topic, pattern) for pattern in filters):
                    write(_publish_packet(_Message(topic, payload, True)))
        elif kind == _UNSUBSCRIBE:
            client.filters.difference_update(_read_filters(body, with_qos=False))
            write(_packet(_UNSUBACK, body[:2]))
        elif kind == _PINGREQ:
            write(_packet(_PINGRESP, b""))
        elif kind != _PUBACK:
            raise _ProtocolError(f"packet type {kind} is not for a broker of QoS 0 and 1")

    def _publish(self, message: _Message) -> None:
        if message.retain:
            if not message.payload:
                self._retained.pop(message.topic, None)
            elif message.topic in self._retained or len(self._retained) < RETAINED_MAX:
                self._retained[message.topic] = message.payload
        packet = _publish_packet(_Message(message.topic, message.payload, False))
        for client in list(self._clients.values()):
            if any(fits(message.topic, pattern) for pattern in client.filters):
                if client.writer.transport.get_write_buffer_size() > BACKLOG_BYTES_MAX:
                    client.writer.transport.abort()
                else:
                    client.writer.write(packet)


def fits(topic: str, pattern: str) -> bool:
    """Whether a topic is one that the filter names: + is one level, # all that follow (4.7)."""
    levels, wanted = topic.split("/"), pattern.split("/")
    if topic.startswith("$") and wanted[0] in ("+", "#"):
        return False
    for place, level in enumerate(wanted):
        if level == "#":
            return True
        if place >= len(levels) or level not in ("+", levels[place]):
            return False
    return len(levels) == len(wanted)


async def _read_packet(reader: asyncio.StreamReader) -> tuple[int, int, bytes]:
    """Type, flags and body. Raises: _ProtocolError, asyncio.IncompleteReadError."""
    first = (await reader.readexactly(1))[0]
    length = 0
    for place in range(4):  # 2.2.3
        byte = (await reader.readexactly(1))[0]
        length |= (byte & 0x7F) << (7 * place)
        if not byte & 0x80:
            break
    if length > PACKET_BYTES_MAX:
        raise _ProtocolError(f"a packet of {length} bytes")
    return first >> 4, first & 0x0F, await reader.readexactly(length)


def _packet(kind: int, body: bytes, flags: int = 0) -> bytes:
    length, size = bytearray(), len(body)
    while True:
        size, low = divmod(size, 128)
        length.append(low | (0x80 if size else 0))
        if not size:
            return bytes((kind << 4 | flags,)) + bytes(length) + body


def _publish_packet(message: _Message) -> bytes:
    topic = message.topic.encode()
    body = len(topic).to_bytes(2, "big") + topic + message.payload
    return _packet(_PUBLISH, body, flags=int(message.retain))


class _Fields:
    """Reads the fields of a body one after the other."""

    def __init__(self, body: bytes) -> None:
        self.rest = body

    def take(self, size: int) -> bytes:
        if len(self.rest) < size:
            raise _ProtocolError("a packet ends too early")
        taken, self.rest = self.rest[:size], self.rest[size:]
        return taken

    def data(self) -> bytes:
        return self.take(int.from_bytes(self.take(2), "big"))

    def text(self) -> str:
        try:
            return self.data().decode()
        except UnicodeDecodeError:
            raise _ProtocolError("a text is not UTF-8") from None


def _read_connect(body: bytes, writer: asyncio.StreamWriter) -> _Client:
    fields = _Fields(body)
    if (fields.text(), fields.take(1)) != ("MQTT", b"\x04"):
        writer.write(_packet(_CONNACK, b"\x00\x01"))
        raise _ProtocolError("only MQTT 3.1.1 is spoken here")
    flags = fields.take(1)[0]
    keep_alive_s = int.from_bytes(fields.take(2), "big")
    client_id = fields.text() or f"anonymous-{id(writer)}"
    will = None
    if flags & 0x04:
        will = _Message(fields.text(), fields.data(), bool(flags & 0x20))
    return _Client(client_id, writer, keep_alive_s, will)


def _read_publish(flags: int, body: bytes) -> tuple[_Message, bytes | None]:
    """The message, and its packet id where it wants to be acknowledged."""
    fields = _Fields(body)
    topic = fields.text()
    if not topic or "+" in topic or "#" in topic:
        raise _ProtocolError("a topic without a name, or with wildcards")
    quality = flags >> 1 & 3
    if quality > 1:
        raise _ProtocolError("QoS 2 is not spoken here")
    packet_id = fields.take(2) if quality else None
    return _Message(topic, fields.rest, bool(flags & 1)), packet_id


def _read_filters(body: bytes, *, with_qos: bool) -> list[str]:
    fields = _Fields(body)
    fields.take(2)
    filters = []
    while fields.rest:
        filters.append(fields.text())
        if with_qos:
            fields.take(1)
    return filters


def main(port: int = 1883) -> None:
    """Run a broker until Ctrl-C: `python -m csms.embedded_broker`."""

    async def stay() -> None:
        async with Broker(port).open() as broker:
            print(broker.url, flush=True)
            await asyncio.Event().wait()

    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(stay())


if __name__ == "__main__":
    main()
