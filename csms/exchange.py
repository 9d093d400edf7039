"""One frame on its way through the recorder, and what one commit writes.

exchange   one inbound frame: received, handled, committed, answered
need       what must be read before an event can be handled; facts: what the reading brought
group      what handled frames leave behind, collected until it is committed; the `Sink` of
           the domain
"""

import asyncio
import hashlib
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final, NamedTuple

from csms import metrics
from csms.domain import session as sessions
from csms.domain.events import StatusChanged, Token
from csms.domain.metering import Profile, Reading
from csms.domain.session import Session
from csms.domain.station import Station
from csms.domain.values import UTC, digest64, uid_key
from csms.store.columns import json_rows, safe_frame
from csms.store.recording import GroupRows
from csms.store.session_rows import session_row

NOT_ASKED: Final = object()
Reply = Callable[[str], None]


class Exchange:
    """One inbound frame on its way. `answer` is the whole frame to send, None: none is due."""

    __slots__ = (
        "action",
        "answer",
        "frame",
        "message_id",
        "outside",
        "protocol",
        "received_at",
        "reply",
        "station",
    )

    def __init__(
        self, station: Station, protocol: str, frame: bytes, received_at: datetime, reply: Reply
    ) -> None:
        self.station = station
        self.protocol = protocol
        self.frame = frame
        self.received_at = received_at
        self.reply = reply
        self.action: str | None = None
        self.message_id: str | None = None
        self.answer: str | None = None
        #: what somebody outside answered: NOT_ASKED, a payload, or None for no answer
        self.outside: Any = NOT_ASKED


#: a question about a badge that is none of ours, for partners
ROAMING: Final = "roaming"


class Question(NamedTuple):
    """A question that somebody outside has to answer."""

    kind: str
    content: dict[str, Any]


class Need(NamedTuple):
    """What must be read before an event can be handled; empty fields need nothing."""

    token_uid: str | None = None
    #: (what, value) as `lookup.find_sessions` takes them
    sessions: tuple[tuple[str, str], ...] = ()
    station: bool = False  # its configuration
    limits: bool = False  # of its power: a share depends on what else is at the site, now
    reload: bool = False  # all that is known of it; the frame is then handled afresh
    #: without `reload`: such a frame needs nothing of the database; with it, it is looked at anew
    outside: Question | None = None


class Facts(NamedTuple):
    """What a look-up brought: the badge (None: unknown) that was asked for."""

    token: Token | None = None


NO_FACTS: Final = Facts()


class Outbound(NamedTuple):
    """A call of ours for the journal, answered (the whole frame) or given up (None)."""

    station: Station
    protocol: str
    action: str
    message_id: str
    frame: str
    sent_at: datetime
    answer: str | None


class Group:
    """What one commit writes, collected while frames are handled. See `stations.Sink`."""

    def __init__(self) -> None:
        self.exchanges: list[Exchange] = []
        self.outbound: list[Outbound] = []
        self.sessions: dict[int, tuple[Station, Session]] = {}
        self.readings: list[tuple[Any, ...]] = []
        self.evidence_rows: list[dict[str, Any]] = []
        self.statuses: list[dict[str, Any]] = []
        self.station_ids: dict[int, str] = {}  # of the statuses
        self.boots: dict[int, dict[str, Any]] = {}
        self.reports: list[dict[str, Any]] = []
        self.desk_rows: list[dict[str, Any]] = []
        self.orders: list[dict[str, Any]] = []  # of our own: rows as store.insert_commands takes
        self.variables: list[tuple[int, list[dict[str, Any]], datetime]] = []  # by station_key
        self.ordered: set[str] = set()  # the stations that they are for
        self.unknown_tokens: dict[str, dict[str, Any]] = {}
        self.deviations: list[tuple[Station, str, str, str, datetime]] = []
        self.current: Exchange | None = None
        self.done: list[asyncio.Future[None]] = []  # told when the group is through, or forgotten

    def __bool__(self) -> bool:
        return bool(self.exchanges or self.outbound or self.sessions)

    def session(self, station: Station, session: Session) -> None:
        self.sessions[session.id] = (station, session)

    def evidence(self, session: Session, kind: str, note: str | None = None) -> None:
        exchange = self.current
        self.evidence_rows.append(
            {
                "session_id": session.id,
                "received_at": exchange.received_at if exchange else datetime.now(UTC),
                "kind": kind,
                "frame": safe_frame(exchange.frame) if exchange else None,
                "note": note,
            }
        )

    def reading(
        self,
        session: Session | None,
        evse_id: int | None,
        connector_id: int | None,
        reading: Reading,
        at: datetime,
    ) -> None:
        exchange = self.current
        assert exchange is not None
        self.readings.append(
            (
                exchange.station.key,
                reading.stated_at or exchange.received_at,
                reading.digest,
                at,
                exchange.received_at,
                session.id if session else None,
                evse_id,
                connector_id,
                reading.profile,
                reading.literal,
                reading.texts,
            )
        )

    def status(self, event: StatusChanged, at: datetime) -> None:
        exchange = self.current
        assert exchange is not None
        self.station_ids[exchange.station.key] = exchange.station.id
        self.statuses.append(
            {
                "station_key": exchange.station.key,
                "at": at,
                "received_at": exchange.received_at,
                "stated_at": event.stated_at,
                "evse_id": event.evse_id,
                "connector_id": event.connector_id,
                "status": event.status,
                "error_code": event.error_code,
                "detail": event.detail,
            }
        )

    def desk(self, reason: str, session: Session | None, transaction_id: str | None) -> None:
        exchange = self.current
        assert exchange is not None
        frame = safe_frame(exchange.frame)
        # Readings of one unknown transaction are one case, however many there are of them.
        repeats = reason == "meter_values_unmatched" and transaction_id is not None
        content = transaction_id if repeats and transaction_id else _payload_part(frame)
        metrics.DESK.labels(reason).inc()
        self.desk_rows.append(
            {
                "station_key": exchange.station.key,
                "received_at": exchange.received_at,
                "reason": reason,
                "session_id": session.id if session else None,
                "transaction_id": transaction_id,
                "message_id": exchange.message_id,
                "frame": frame,
                "digest": digest64(exchange.action or "", content),
            }
        )

    def deviation(self, kind: str, subject: str, sample: str) -> None:
        exchange = self.current
        assert exchange is not None
        self.deviations.append(
            (exchange.station, kind, subject[:200], sample[:200], exchange.received_at)
        )

    def note_unknown_token(self, station: Station, uid: str, at: datetime) -> None:
        """A badge that nobody knows was shown."""
        key = uid_key(uid)[:255]
        row = self.unknown_tokens.setdefault(
            key,
            {
                "uid_key": key,
                "uid": uid[:255],
                "station_key": station.key,
                "first_seen_at": at,
                "count": 0,
            },
        )
        row["count"] += 1
        row["last_seen_at"] = at

    def new_profiles(self) -> list[Profile]:
        """Profiles that these readings are the first to need."""
        return list(dict.fromkeys(row[8] for row in self.readings if row[8].database_id is None))

    def rows(self, answered_at: datetime) -> GroupRows:
        """The group as rows, each session once, in the form that its change needs.

        Sessions count as written from here on: what is told of them while this group is on its
        way belongs to the next one. If this one fails, all state is loaded anew.
        """
        iso = _Iso()
        opened, changed, progressed = [], [], []
        for station, session in self.sessions.values():
            if session.is_new:
                opened.append(session_row(station.key, session))
            elif session.change == sessions.CHANGED:
                changed.append(session_row(station.key, session))
            elif session.change == sessions.PROGRESSED:
                progressed.append(session)
        rows = GroupRows(
            answered_at=answered_at.isoformat(),
            messages=self._message_columns(iso),
            readings=self._reading_columns(iso),
            progress=_progress_columns(progressed, iso),
            opened=opened,
            changed=changed,
            evidence=self.evidence_rows,
            statuses=self.statuses,
            boots=list(self.boots.values()),
            reports=self.reports,
            desk=self.desk_rows,
            unknown_tokens=list(self.unknown_tokens.values()),
            orders=self.orders,
            variables=self.variables,
        )
        for _, session in self.sessions.values():
            if not session.is_new and session.change:
                session.revision += 1
            session.is_new = False
            session.change = sessions.UNCHANGED
        return rows

    def _message_columns(self, iso: "_Iso") -> tuple[list[Any], ...]:
        inbound, outbound = self.exchanges, self.outbound
        return (
            [iso[e.received_at] for e in inbound] + [iso[o.sent_at] for o in outbound],
            [e.station.key for e in inbound] + [o.station.key for o in outbound],
            ["in"] * len(inbound) + ["out"] * len(outbound),
            [e.protocol for e in inbound] + [o.protocol for o in outbound],
            [e.action for e in inbound] + [o.action for o in outbound],
            [e.message_id for e in inbound] + [o.message_id for o in outbound],
            [safe_frame(e.frame) for e in inbound] + [o.frame for o in outbound],
            [e.answer for e in inbound] + [o.answer for o in outbound],
        )

    def _reading_columns(self, iso: "_Iso") -> tuple[list[Any], ...]:
        readings = self.readings
        return (
            [r[0] for r in readings],
            [iso[r[1]] for r in readings],
            [r[2] for r in readings],
            [iso[r[3]] for r in readings],
            [iso[r[4]] for r in readings],
            [r[5] for r in readings],
            [r[6] for r in readings],
            [r[7] for r in readings],
            [r[8].database_id for r in readings],
            [r[9] for r in readings],
            [r[10] for r in readings],
        )


class _Iso(dict[datetime, str]):
    """Times as ISO texts, each written once however many columns it stands in."""

    def __missing__(self, moment: datetime) -> str:
        text = self[moment] = moment.isoformat()
        return text


def _progress_columns(progressed: list[Session], iso: _Iso) -> tuple[list[Any], ...]:
    return (
        [s.id for s in progressed],
        [s.revision for s in progressed],
        [s.last_register_wh for s in progressed],
        [iso[s.last_register_at] if s.last_register_at else None for s in progressed],
        [s.energy_wh for s in progressed],
        [s.seq_no_last for s in progressed],
        [iso[s.readings_to_at] if s.readings_to_at else None for s in progressed],
        [s.power_w for s in progressed],
        [s.power_integral_wh for s in progressed],
    )


def profile_row(profile: Profile) -> dict[str, Any]:
    """A meter profile as `recording.store_profiles` takes it."""
    columns = zip(*profile.kinds, strict=True)
    measurands, phases, units, contexts, locations, factors, *_ = (list(c) for c in columns)
    row: dict[str, Any] = {
        "measurands": measurands,
        "phases": phases,
        # A power of ten belongs to the unit: kWh is "Whe3" where a station writes it so.
        "units": [f"{u}e{f}" if f else u for u, f in zip(units, factors, strict=True)],
        "contexts": contexts,
        "locations": locations,
    }
    # A digest: the words come from stations, and an index takes no text of any length.
    return row | {"key": hashlib.sha256(json_rows(list(row.values())).encode()).hexdigest()}


def _payload_part(frame: str) -> str:
    """A frame without its message id: the same message sent again has the same."""
    parts = frame.split(",", 2)
    return parts[2] if len(parts) == 3 else frame
