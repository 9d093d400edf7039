"""One inbound frame: read, recognised when it comes again, turned into an event and recorded.

This is the path of every frame, with a socket behind it or not: the gateway, the replay of the
journal and the tests all come through `Dispatcher.receive`.
"""

import json
import logging
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

import msgspec

from csms import metrics
from csms.commands import command_row
from csms.domain.station import NOTHING_SAID, Remembered, Station
from csms.exchange import NO_FACTS, NOT_ASKED, Exchange, Facts, Need, Reply
from csms.recorder import Recorder
from csms.wire import frames, ocpp16, ocpp201, schema
from csms.wire.common import EMPTY
from csms.wire.context import Context, OwnOrder, Profiles, Request
from csms.wire.frames import CALL, CALL_ERROR, CALL_RESULT, Frame, FrameError
from csms.wire.schema import PayloadError, Shape

log = logging.getLogger(__name__)

# Answers that tell the time are told again only so long: a station that restarts may use the same
# message id for the same words, and would set its clock by them.
TIMELY: Final = frozenset({"BootNotification", "Heartbeat"})
TIMELY_FOR: Final = timedelta(minutes=2)
ANSWER_BYTES_MAX: Final = 4096  # larger answers are not remembered; none of ours is
_MICROSECOND: Final = timedelta(microseconds=1)
_NO_AGE: Final = timedelta()
_ESCAPED_CONTROL: Final = re.compile(rb"\\u(?:00[01][0-9a-fA-F]|[dD][89a-fA-F][0-9a-fA-F]{2})")
_CONTROL: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff]")


class Version(NamedTuple):
    """One protocol version: its requests with their decoders, and its words for errors."""

    protocol: str
    requests: dict[str, tuple[Request, Shape]]
    known: frozenset[str]  # every action of the version, either direction
    error_codes: dict[str, str]
    unreadable_code: str


def _version(protocol: str, requests: dict[str, Request], codes: dict[str, str]) -> Version:
    shaped = {
        action: (request, schema.shape(protocol, action)) for action, request in requests.items()
    }
    unreadable = codes.get("RpcFrameworkError", "RpcFrameworkError")
    return Version(protocol, shaped, schema.known_actions(protocol), codes, unreadable)


VERSIONS: Final = {
    ocpp16.PROTOCOL: _version(ocpp16.PROTOCOL, ocpp16.REQUESTS, ocpp16.ERROR_CODES),
    ocpp201.PROTOCOL: _version(ocpp201.PROTOCOL, ocpp201.REQUESTS, ocpp201.ERROR_CODES),
}

#: takes CALLRESULT and CALLERROR frames; True when a call of ours was waiting for it
TakeAnswer = Callable[[Frame], bool]


class Dispatcher:
    """Frames in, exchanges to the recorder. `profiles` are those of the whole process."""

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self.profiles = Profiles()
        self._last_received_at: datetime | None = None
        recorder.handle = self.handle
        recorder.refuse = self.refuse

    def receive(
        self,
        station: Station,
        protocol: str,
        data: bytes,
        received_at: datetime,
        reply: Reply,
        take_answer: TakeAnswer | None = None,
    ) -> None:
        """Take one frame of a station. The answer goes to `reply` after the commit.

        Answers to our own calls go to `take_answer` at once: the two directions do not wait for
        each other (field case 32).
        """
        last = self._last_received_at
        if last is not None and received_at <= last:
            received_at = last + _MICROSECOND  # the journal's order is the order of receipt
        self._last_received_at = received_at
        if take_answer is not None and data[:8].lstrip()[:2] in (b"[3", b"[4"):
            try:
                frame = frames.read_frame(data)
            except FrameError:
                frame = None
            if frame is not None and frame.kind != CALL and take_answer(frame):
                return
        self.recorder.receive(Exchange(station, protocol, data, received_at, reply))

    def handle(self, exchange: Exchange, facts: Facts | None) -> Need | None:
        """Handle a frame for the recorder; what must be looked up first, None: it is done.

        `facts` is what an earlier Need has brought.
        """
        version = VERSIONS[exchange.protocol]
        data = exchange.frame
        try:
            if b"\\u" in data and _ESCAPED_CONTROL.search(data):
                frame = _read_without_control(data)
            else:
                frame = frames.read_frame(data)
        except FrameError as error:
            self._unreadable(exchange, version, error, data)
            return None
        exchange.message_id = frame.message_id if frame.message_id.isprintable() else None
        if frame.kind != CALL:
            self._note(exchange, "answer_without_call", "", data)
            metrics.count_message("in", "", "unmatched")
            return None
        if self._repeated(exchange, frame):
            return None
        assert frame.action is not None
        known = version.requests.get(frame.action)
        if known is None:
            self._unknown_action(exchange, version, frame)
            return None
        exchange.action = frame.action
        if frame.repaired is not None:
            self._note(exchange, "frame_repaired", frame.action, frame.repaired)
        if exchange.station.boot_status != "accepted" and self._must_wait(exchange, frame.action):
            self._refuse_on_hold(exchange, frame, known[0])
            return None
        return self._handle_call(exchange, version, frame, known, facts)

    def refuse(self, exchange: Exchange) -> None:
        """Answer a frame that we failed to handle or to store, where it can be answered."""
        if exchange.message_id is not None:
            exchange.answer = frames.error_text(
                exchange.message_id,
                "InternalError",
                "The central system could not process this message; it has been kept.",
            )

    def _handle_call(
        self,
        exchange: Exchange,
        version: Version,
        frame: Frame,
        known: tuple[Request, Shape],
        facts: Facts | None,
    ) -> Need | None:
        request, shape = known
        recorder = self.recorder
        station = exchange.station
        context = Context(station, exchange.received_at, self.profiles, recorder.intake.rules)
        try:
            message, deviations = schema.read(shape, frame.payload, context.read_time)
            for path in request.essential if deviations else ():
                _demand(message, path)
            event = request.read(message, context)
        except PayloadError as error:
            self._refuse_payload(exchange, version, frame, request, error)
            return None
        if request.outside is not None and exchange.outside is NOT_ASKED:
            question = request.outside(event)
            if question is not None:
                return Need(outside=question)
        if facts is None:
            need = recorder.intake.need_of(station, event)
            if need is not None:
                return need
        question = recorder.intake.question_of(exchange, event, facts or NO_FACTS)
        if question is not None:
            return Need(outside=question, reload=True)
        outcome = recorder.intake.record(exchange, event, facts or NO_FACTS, recorder.group)
        if (station.clock_skew_s, station.naive_is_local) != station.clock_noted:
            recorder.observations.note_clock(station)
        for deviation in deviations:
            recorder.group.deviation(*deviation)
        if request.follow is not None:
            self._follow(exchange, request.follow(event, outcome))
        self._answer(exchange, frame, request.answer(event, outcome))
        metrics.count_message("in", frame.action, "answered")
        return None

    def _follow(self, exchange: Exchange, order: OwnOrder | None) -> None:
        """Put an order of ours beside what caused it: both are committed, or neither is."""
        station = exchange.station
        if order is None or not (station.auto_configure or order.demanded):
            return
        settings = self.recorder.settings
        group = self.recorder.group
        group.ordered.add(station.id)
        group.orders.append(
            command_row(
                station.key,
                exchange.protocol,
                order.action,
                order.payload,
                origin=f"us:{order.why}",
                now=exchange.received_at,
                expires_in_s=settings.own_order_expires_in_s,
            )
        )

    # --- Answers --------------------------------------------------------------------------------

    def _answer(self, exchange: Exchange, frame: Frame, payload: str) -> None:
        answer = frames.result_text(frame.message_id, payload)
        self._remember(exchange, frame, answer, says_nothing=payload == EMPTY)

    def _remember(
        self, exchange: Exchange, frame: Frame, answer: str, *, says_nothing: bool = False
    ) -> None:
        """The answer goes out after the commit, and again when the same frame comes again."""
        exchange.answer = answer
        if len(answer) > ANSWER_BYTES_MAX:
            return
        answers = exchange.station.answers
        if len(answers) >= self.recorder.settings.remembered_answers:
            del answers[next(iter(answers))]
        at = exchange.received_at if frame.action in TIMELY else None
        answers[hash(exchange.frame)] = NOTHING_SAID if says_nothing else Remembered(answer, at)

    def _repeated(self, exchange: Exchange, frame: Frame) -> bool:
        """Whether the frame was here before: it gets the answer it got (promise 2)."""
        remembered = exchange.station.answers.get(hash(exchange.frame))
        if remembered is None:
            return False
        age = exchange.received_at - remembered.at if remembered.at is not None else _NO_AGE
        if frame.action in TIMELY and age > TIMELY_FOR:
            return False  # a counter that began anew, not a repetition
        exchange.action = frame.action
        exchange.answer = remembered.answer or frames.result_text(frame.message_id, EMPTY)
        metrics.count_message("in", frame.action, "repeated")
        return True

    def _error(
        self, exchange: Exchange, version: Version, frame: Frame, code: str, description: str
    ) -> None:
        wire_code = version.error_codes.get(code, code)
        answer = frames.error_text(frame.message_id, wire_code, description)
        self._remember(exchange, frame, answer)
        metrics.count_message("in", exchange.action or "", "refused")

    def _unknown_action(self, exchange: Exchange, version: Version, frame: Frame) -> None:
        action = frame.action or ""
        self._note(exchange, "unknown_action", action[:50], action)
        if action in version.known:
            exchange.action = action
            self._error(exchange, version, frame, "NotSupported", f"{action} is not for us to do")
        else:
            self._error(
                exchange, version, frame, "NotImplemented", f"there is no action {action[:50]}"
            )
            exchange.action = action if action.isprintable() and len(action) <= 50 else None

    @staticmethod
    def _must_wait(exchange: Exchange, action: str) -> bool:
        """Whether a station that is not accepted may not say that. One of 1.6 that is pending may:
        the standard forbids us to start and stop it, not it to talk (4.2)."""
        station = exchange.station
        if action == "BootNotification":
            return False
        if station.boot_status == "rejected":
            return True
        return exchange.protocol != ocpp16.PROTOCOL and action not in station.called_for

    def _refuse_on_hold(self, exchange: Exchange, frame: Frame, request: Request) -> None:
        """OCPP 2.0.1, B02.FR.09 and B03.FR.07: what comes unasked is refused. What a session may
        hang on is kept where a person sees it (promise 3)."""
        status = exchange.station.boot_status
        self._note(exchange, "sent_while_not_accepted", exchange.action or "", exchange.frame)
        if request.transaction:
            self.recorder.group.desk(f"station_{status}", None, None)
        # Not remembered: once accepted, the station may send the same frame again, and be heard.
        exchange.answer = frames.error_text(
            frame.message_id,
            "SecurityError",
            f"This station is {status}: only BootNotification, and what is asked for, is taken.",
        )
        metrics.count_message("in", exchange.action or "", "refused")

    def _refuse_payload(
        self,
        exchange: Exchange,
        version: Version,
        frame: Frame,
        request: Request,
        error: PayloadError,
    ) -> None:
        """A payload without sense: answered, and on the desk where a session may hang on it."""
        self._note(exchange, "payload_refused", exchange.action or "", error.description)
        if request.transaction:
            self.recorder.group.desk("payload_refused", None, None)
        self._error(exchange, version, frame, error.code, error.description)

    def _unreadable(
        self, exchange: Exchange, version: Version, error: FrameError, data: bytes
    ) -> None:
        """A broken frame, kept in any case. A CALL is answered where its id can be seen, in 2.0.1
        without one and for other kinds of message too; a broken answer never is."""
        text = data.decode("utf-8", "replace")
        self._note(exchange, "unreadable_frame", "", text)
        metrics.count_message("in", "", "unreadable")
        if error.kind in (CALL_RESULT, CALL_ERROR):
            return
        action = frames.fish_action(text)
        known = version.requests.get(action or "")
        if action is None or (known is not None and known[0].transaction):
            self.recorder.group.desk("unreadable_frame", None, None)
        if error.message_id is not None and error.kind in (CALL, None):
            exchange.message_id = error.message_id if error.message_id.isprintable() else None
            code = "RpcFrameworkError" if error.rpc else "FormatViolation"
            wire_code = version.error_codes.get(code, code)
            exchange.answer = frames.error_text(error.message_id, wire_code, error.description)
        elif version.protocol != ocpp16.PROTOCOL:
            is_call = error.kind in (CALL, None)
            exchange.answer = frames.error_text(
                "-1" if is_call else error.message_id or "-1",
                "RpcFrameworkError" if is_call else "MessageTypeNotSupported",
                error.description,
            )

    def _note(self, exchange: Exchange, kind: str, subject: str, sample: str | bytes) -> None:
        text = sample.decode("utf-8", "replace") if isinstance(sample, bytes) else sample
        self.recorder.group.deviation(kind, subject, text)


def _demand(message: Any, path: str) -> None:
    """Raise when a field without which no sense can be made is absent."""
    value = message
    for name in path.split("."):
        value = getattr(value, name, None)
        if value is None:
            raise PayloadError("OccurrenceConstraintViolation", f"{path} is missing")


def _read_without_control(data: bytes) -> Frame:
    """The frame with its control characters replaced, but under the id that it came with.

    Raises: FrameError.
    """
    frame = frames.read_frame(_without_control(data))
    try:
        return frame._replace(message_id=frames.read_frame(data).message_id)
    except FrameError:  # lone surrogates, which cannot be sent back either
        return frame


def _without_control(data: bytes) -> bytes:
    """The frame with escaped control characters and lone surrogates replaced: no column holds them.

    What is no JSON comes back as it is.
    """
    try:
        plain = json.loads(data)  # reads lone surrogates, which msgspec refuses
        return msgspec.json.encode(_cleaned(plain, 0))
    except (ValueError, OverflowError, RecursionError):
        return data


def _cleaned(value: Any, depth: int) -> Any:
    if depth > schema.DEPTH_MAX * 2:
        return None
    if isinstance(value, str):
        return _CONTROL.sub("\ufffd", value)
    if isinstance(value, list):
        return [_cleaned(item, depth + 1) for item in value]
    if isinstance(value, dict):
        return {_cleaned(k, depth + 1): _cleaned(v, depth + 1) for k, v in value.items()}
    return value
