"""One connection of one station: frames in, answers out, and our own calls.

A frame is taken in the protocol's own callback and handed to the dispatcher; what the station has
unanswered is bounded by pausing the reading of its socket. A call of ours waits for its answer
beside all that: the two directions never wait for each other.
"""

import asyncio
import contextlib
from collections.abc import Callable
from datetime import datetime
from typing import Any, NamedTuple, Protocol

import msgspec
from websockets import frames as library_frames
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import WebSocketException
from websockets.frames import CloseCode, Frame, Opcode
from websockets.protocol import OPEN

from csms import metrics
from csms.config import Settings
from csms.domain.order_secrets import masked, masked_answer
from csms.domain.station import Station
from csms.domain.values import UTC
from csms.exchange import Outbound
from csms.recorder import Recorder
from csms.store.lookup import StationRow
from csms.wire import frames
from csms.wire.dispatch import Dispatcher

_WHOLE_TEXT = 0x81  # FIN and opcode 1, no extension bits
_WHOLE = frozenset((_WHOLE_TEXT, 0x88, 0x89, 0x8A))  # close, ping, pong
# The library's own: in C where it was built, else in Python. It does not re-export the choice.
_unmask: Callable[[bytes, bytes], bytes] = library_frames.apply_mask  # type: ignore[attr-defined]
_MASKED = 0x80
_LENGTH_16 = 0xFE  # masked, and the length is in the next two bytes
_BOOT_ANSWERS = ("Accepted", "Pending", "Rejected")
#: requests that a trigger asks for by another name than their own
_TRIGGERED = {
    "SignChargingStationCertificate": "SignCertificate",
    "SignV2GCertificate": "SignCertificate",
    "SignCombinedCertificate": "SignCertificate",
}
_DATA = (Opcode.TEXT, Opcode.BINARY, Opcode.CONT)


class Home(Protocol):
    """What a link needs of the gateway that it belongs to."""

    settings: Settings
    recorder: Recorder
    dispatcher: Dispatcher
    loop: asyncio.AbstractEventLoop
    paused: "set[Link]"

    def booted(self, link: "Link") -> None:
        """The station's BootNotification was answered on the link."""

    def answer_unasked(self, link: "Link", frame: frames.Frame) -> None:
        """An answer came that no call waits for."""

    def link_lost(self, link: "Link") -> None:
        """The link's socket is gone."""

    def resume_if_room(self, link: "Link") -> None:
        """Read on from the link if it and the gateway have room."""


class CallError(Exception):
    """The station answered a call of ours with CALLERROR; `code` and `description` are its own."""

    def __init__(self, code: str, description: str, details: Any = None) -> None:
        super().__init__(f"{code}: {description}")
        self.code = code
        self.description = description
        self.details = details


class CallTimeout(Exception):
    """The station gave no answer in time, or its link closed first."""


class _Waiting(NamedTuple):
    """The one call of ours that is outstanding on a link."""

    message_id: str
    answer: "asyncio.Future[frames.Frame]"


class StationConnection(ServerConnection):
    """A websocket whose text frames go straight to its link.

    Nearly all that stations send are whole, masked text frames. They are cut here (RFC 6455,
    section 5.2), which saves an eighth of the gateway's time. Control frames are the library's,
    and so is the whole stream once anything else comes: fragments, extensions, 64 KiB, faults.
    """

    link: "Link | None" = None
    _rest = b""
    _ours = True  # False: the library has begun a frame, and keeps the stream from then on

    def data_received(self, data: bytes) -> None:
        """Take bytes off the socket."""
        link = self.link
        if link is None or not self._ours or self.protocol.state is not OPEN:
            # Frames that come before our answer to the handshake are already in the library.
            self._ours = self._ours and self.request is None
            super().data_received(data)
            return
        if self._rest:
            data, self._rest = self._rest + data, b""
        at = 0
        while (end := _frame_end(data, at)) > 0:
            if data[at] == _WHOLE_TEXT:
                header = at + (8 if data[at + 1] == _LENGTH_16 else 6)
                link.take(_unmask(data[header:end], data[header - 4 : header]))
            else:
                super().data_received(data[at:end])
            at = end
            if self.protocol.state is not OPEN:
                return
        if end == 0:
            self._rest = data[at:]
        else:
            self._ours = False
            super().data_received(data[at:])

    def process_event(self, event: Any) -> None:
        """Take one event of the protocol: handshake request or frame."""
        link = self.link
        if link is None or self.request is None:
            super().process_event(event)
            return
        opcode = event.opcode
        if opcode is Opcode.TEXT and event.fin:
            link.take(bytes(event.data))
        elif opcode in _DATA:
            link.take_fragment(event)
        else:
            link.heard_at = link.gateway.loop.time()
            super().process_event(event)

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is gone."""
        super().connection_lost(exc)
        if self.link is not None:
            self.link.lost()


class Link:
    """One connection of one station."""

    __slots__ = (
        "_call_lock",
        "_expected",
        "_fragments",
        "_greeted",
        "_held",
        "_listened",
        "_paused",
        "_rate_at",
        "_rate_left",
        "_waiting",
        "boot_answer",
        "connection",
        "gateway",
        "generation",
        "heard_at",
        "opened_at",
        "ping_interval_s",
        "pinged_at",
        "protocol",
        "registered",
        "remote_address",
        "station",
        "touched_at",
    )

    def __init__(
        self,
        gateway: Home,
        connection: StationConnection,
        station: Station,
        row: StationRow,
        protocol: str | None,
        remote_address: str,
        generation: int,
    ) -> None:
        settings = gateway.settings
        self.gateway = gateway
        self.connection = connection
        self.station = station
        self.protocol = protocol  # None until the first frame shows it
        self._expected = row.protocol is not None
        self._listened = False
        self.remote_address = remote_address
        self.opened_at = datetime.now(UTC)
        self.heard_at = self.touched_at = self.pinged_at = gateway.loop.time()
        stated = row.ping_interval_s
        self.ping_interval_s = settings.ping_interval_s if stated is None else stated
        #: which of the station's connections this is, on whichever node: the highest is the newest
        self.generation = generation
        self.registered = False  # the database knows that this node holds the station
        #: what was answered to its BootNotification on this link; None: it has not booted
        self.boot_answer: str | None = None
        self._greeted = False  # a BootNotification waits for its answer
        self._rate_left = float(settings.frames_burst_max)
        self._rate_at = self.heard_at
        self._paused = False
        self._held = False  # reading waits for the rate
        self._fragments: list[bytes] | None = None
        self._waiting: _Waiting | None = None
        self._call_lock: asyncio.Lock | None = None

    # --- In -------------------------------------------------------------------------------------

    def take(self, data: bytes) -> None:
        """Take one text frame."""
        gateway = self.gateway
        now_s = self.heard_at = gateway.loop.time()
        if not data.isascii() and not _is_utf8(data):
            self._fail(CloseCode.INVALID_DATA, "not UTF-8")
            return
        if not self._listened:
            self._listened = True
            self._sniff(data)
        if b'"BootNotification"' in data[:300]:
            self._greeted = True
        protocol = self.protocol
        assert protocol is not None
        gateway.dispatcher.receive(
            self.station, protocol, data, datetime.now(UTC), self.reply, self._take_answer
        )
        self._rate_left = min(
            float(gateway.settings.frames_burst_max),
            self._rate_left + (now_s - self._rate_at) * gateway.settings.frames_per_s_max,
        )
        self._rate_at = now_s
        self._rate_left -= 1
        if self._rate_left < 0 and not self._held:
            self._held = True
            self.pause()
            self._let_go()
        recorder = gateway.recorder
        if recorder.waiting(self.station) >= gateway.settings.unanswered_frames_max or (
            recorder.unanswered >= gateway.settings.unanswered_frames_total_max
        ):
            self.pause()
            gateway.paused.add(self)

    def _sniff(self, data: bytes) -> None:
        """See from the first frame what the station speaks, if nobody has said so (case 26)."""
        spoken = sniff_protocol(data)
        if self.protocol is None:
            self.protocol = spoken or "ocpp1.6"
        elif spoken not in (None, self.protocol) and not self._expected:
            self.gateway.recorder.observations.count_deviation(
                self.station, "other_protocol", "handshake", self.protocol, datetime.now(UTC)
            )
            self.protocol = spoken

    def take_fragment(self, frame: Frame) -> None:
        """Take a part of a message, or a binary one (OCPP has none: read as text)."""
        if frame.opcode is not Opcode.CONT:
            self._fragments = []
        if self._fragments is None:
            return
        self._fragments.append(bytes(frame.data))
        if frame.fin:
            data = b"".join(self._fragments)
            self._fragments = None
            self.take(data)

    def _take_answer(self, frame: frames.Frame) -> bool:
        waiting = self._waiting
        if waiting is None or waiting.message_id != frame.message_id or waiting.answer.done():
            self.gateway.answer_unasked(self, frame)
            return False
        waiting.answer.set_result(frame)
        return True

    def pause(self) -> None:
        """Read no more for now."""
        if not self._paused:
            self._paused = True
            with contextlib.suppress(RuntimeError):
                self.connection.transport.pause_reading()

    def _let_go(self) -> None:
        """Read on when the rate allows it: what one read had brought was taken all the same."""
        gateway = self.gateway
        rate = gateway.settings.frames_per_s_max
        wait_s = -self._rate_left / rate - (gateway.loop.time() - self._rate_at)
        if wait_s > 0:
            gateway.loop.call_later(wait_s, self._let_go)
            return
        self._held = False
        if self not in gateway.paused:
            self.resume()

    def resume(self) -> None:
        """Read on, unless the station has to wait for its rate."""
        if self._paused and not self._held:
            self._paused = False
            with contextlib.suppress(RuntimeError):
                self.connection.transport.resume_reading()

    # --- Out ------------------------------------------------------------------------------------

    def reply(self, text: str) -> None:
        """Send an answer, and read on if that was what the reading waited for."""
        self._write(text)
        if self._paused and self in self.gateway.paused:
            self.gateway.resume_if_room(self)
        if self._greeted and '"interval":' in text:
            self._greeted = False
            self.boot_answer = next(word for word in _BOOT_ANSWERS if f'"{word}"' in text).lower()
            self.gateway.booted(self)

    def _write(self, text: str) -> None:
        """Send a frame; what cannot be sent is dropped with its connection."""
        connection = self.connection
        if connection.protocol.state is OPEN:
            try:
                _send_text(connection, text.encode())
            except (WebSocketException, OSError, RuntimeError):
                connection.transport.abort()
            if connection.paused:
                connection.transport.abort()

    @property
    def booted(self) -> bool:
        """Whether the station booted on this link, and was answered."""
        return self.boot_answer is not None

    def calls_for(self, action: str, payload: str) -> None:
        """An order goes out that the station may answer with requests of its own: on hold, it may
        send nothing else (OCPP 2.0.1, B02 and B03)."""
        if action == "TriggerMessage":
            wanted = msgspec.json.decode(payload).get("requestedMessage")
            self.station.called_for |= {_TRIGGERED.get(wanted, wanted)}
        elif action in ("GetBaseReport", "GetReport"):
            self.station.called_for |= {"NotifyReport"}

    def age_s(self) -> float:
        """How long the link is open."""
        return (datetime.now(UTC) - self.opened_at).total_seconds()

    async def call(self, action: str, payload: str, message_id: str, timeout_s: float) -> Any:
        """Ask the station, in JSON that is valid by its schema; its answer's payload, which may be
        anything that JSON has. One call at a time, whatever the station asks us meanwhile (field
        case 32).

        Raises: CallError, CallTimeout, frames.AnswerError.
        """
        assert self.protocol is not None, "the station's protocol is not known yet"
        if self._call_lock is None:
            self._call_lock = asyncio.Lock()
        async with self._call_lock:
            return await self._call(action, payload, message_id, timeout_s)

    async def _call(self, action: str, payload: str, message_id: str, timeout_s: float) -> Any:
        if self.connection.protocol.state is not OPEN:
            raise CallTimeout("The connection ended before the order could be written to it.")
        waiting = self._waiting = _Waiting(message_id, self.gateway.loop.create_future())
        frame_text = frames.call_text(message_id, action, payload)
        sent_at = datetime.now(UTC)
        answer: frames.Frame | None = None
        try:
            self._write(frame_text)
            async with asyncio.timeout(timeout_s):
                answer = _without_passwords(await waiting.answer)
        except TimeoutError:
            raise CallTimeout(f"The station gave no answer within {timeout_s:g} s.") from None
        except asyncio.CancelledError:
            if self._waiting is not None:
                raise
            raise CallTimeout("The connection ended before the station's answer.") from None
        finally:
            self._waiting = None
            kept = frames.call_text(message_id, action, masked(action, payload))
            self._note_call(action, message_id, kept, sent_at, answer)
        if answer.kind == frames.CALL_ERROR:
            raise CallError(*frames.error_parts(answer.payload))
        return frames.answer_value(answer.payload)

    def _note_call(
        self,
        action: str,
        message_id: str,
        frame_text: str,
        sent_at: datetime,
        answer: frames.Frame | None,
    ) -> None:
        answered = None
        if answer is not None:
            payload = bytes(answer.payload).decode("utf-8", "replace")
            is_error = answer.kind == frames.CALL_ERROR
            rest = payload[1:-1] if is_error else payload
            answered = f"[{answer.kind},{frames.quote(message_id)}{',' if rest else ''}{rest}]"
        metrics.count_message("out", action, "answered" if answer else "unanswered")
        self.gateway.recorder.note_outbound(
            Outbound(
                self.station,
                self.protocol or "",
                action,
                message_id,
                frame_text,
                sent_at,
                answered,
            )
        )

    def ping(self) -> None:
        """Send a ping; its pong is one more sign of life."""
        self.pinged_at = self.gateway.loop.time()
        if self.connection.protocol.state is OPEN:
            with contextlib.suppress(WebSocketException, OSError, RuntimeError):
                self.connection.protocol.send_ping(b"")
                self.connection.send_data()

    # --- End ------------------------------------------------------------------------------------

    def close(self, code: int = CloseCode.GOING_AWAY, reason: str = "") -> None:
        """Say goodbye and cut soon after: a half-open peer would never answer."""
        if self.connection.protocol.state is OPEN:
            with contextlib.suppress(WebSocketException, OSError, RuntimeError):
                self.connection.protocol.send_close(code, reason)
                self.connection.send_data()
        self.gateway.loop.call_later(1.0, self.connection.transport.abort)

    def _fail(self, code: int, reason: str) -> None:
        with contextlib.suppress(WebSocketException, OSError, RuntimeError):
            self.connection.protocol.fail(code, reason)
            self.connection.send_data()
        self.gateway.loop.call_later(1.0, self.connection.transport.abort)

    def lost(self) -> None:
        """The socket is gone: clean up after this link, and after no other."""
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.answer.cancel()
        self.gateway.paused.discard(self)
        self.gateway.link_lost(self)


def _without_passwords(answer: frames.Frame) -> frames.Frame:
    """The answer as it is kept and shown."""
    if answer.kind != frames.CALL_RESULT:
        return answer
    try:
        response = frames.answer_value(answer.payload)
    except frames.AnswerError:
        return answer  # nobody can read it
    if not isinstance(response, dict) or (without := masked_answer(response)) is response:
        return answer
    return answer._replace(payload=msgspec.Raw(msgspec.json.encode(without)))


def _frame_end(data: bytes, at: int) -> int:
    """Where the whole text or control frame that begins at `at` ends.

    0 when more has to come first, -1 when it is another kind of frame.
    """
    available = len(data) - at
    if available < 2:
        return 0 if available == 0 or data[at] in _WHOLE else -1
    if data[at] not in _WHOLE or not _MASKED <= data[at + 1] <= _LENGTH_16:
        return -1
    length, header = data[at + 1] - _MASKED, 6
    if data[at + 1] == _LENGTH_16:
        if available < 4:
            return 0
        length, header = data[at + 2] << 8 | data[at + 3], 8
    return at + header + length if available >= header + length else 0


def _send_text(connection: StationConnection, data: bytes) -> None:
    """Send a text frame; short ones without the library, which has nothing to add to them."""
    size = len(data)
    if size > 65_535 or connection.protocol.extensions:
        connection.protocol.send_text(data)
        connection.send_data()
    elif size < 126:
        connection.transport.write(b"\x81%c%b" % (size, data))
    else:
        connection.transport.write(b"\x81\x7e%b%b" % (size.to_bytes(2, "big"), data))


def sniff_protocol(data: bytes) -> str | None:
    """The version that a first frame can only belong to; None when either may be."""
    if b'"chargePointVendor"' in data or b'"StartTransaction"' in data or b'"idTag"' in data:
        return "ocpp1.6"
    if b'"chargingStation"' in data or b'"TransactionEvent"' in data or b'"evseId"' in data:
        return "ocpp2.0.1"
    return None


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
