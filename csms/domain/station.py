"""A station as the central system knows it: its EVSEs and their table, its clock, its sessions."""

from collections.abc import Callable
from datetime import datetime
from typing import Final, NamedTuple, Protocol
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from csms.domain import session as sessions
from csms.domain.clock import (
    BelievedTime,
    ClockRules,
    believed_time,
    local_time,
    skew_of_live_message,
)
from csms.domain.contract import Closure
from csms.domain.events import StatusChanged
from csms.domain.limits import PowerLimit
from csms.domain.metering import Reading
from csms.domain.reservation import Kept
from csms.domain.session import Session, State
from csms.domain.values import seconds

RECENT_SESSIONS_MAX: Final = 2  # ended sessions kept in memory; older ones are looked up
LIVE_AFTER_BOOT_S: Final = 120.0
NOW_S: Final = 60.0  # so close to the receipt is the present

# Words for the status of an EVSE; the first nine are those of OCPP 1.6, `occupied` is all that
# 2.0.1 tells. A transition that the table does not know is believed and put on record.
_NEXT_STATUSES: Final[dict[str, str]] = {
    "available": "preparing charging suspended_ev suspended_evse reserved unavailable occupied",
    "preparing": "available charging suspended_ev suspended_evse finishing",
    "charging": "available suspended_ev suspended_evse finishing unavailable",
    "suspended_ev": "available charging suspended_evse finishing unavailable",
    "suspended_evse": "available charging suspended_ev finishing unavailable",
    "finishing": "available preparing unavailable",
    "reserved": "available preparing unavailable occupied",
    "unavailable": "available preparing charging suspended_ev suspended_evse occupied reserved",
    "occupied": "available unavailable reserved",
}
STATUSES: Final = frozenset(_NEXT_STATUSES) | {"faulted", "unknown"}
STATUS_TRANSITIONS: Final[dict[str, frozenset[str]]] = {
    status: frozenset(following.split()) | {"faulted", status}
    for status, following in _NEXT_STATUSES.items()
} | {"faulted": STATUSES, "unknown": STATUSES}


class Sink(Protocol):
    """Where a station tells what is worth keeping; the recorder's group is one."""

    def session(self, station: "Station", session: Session) -> None:
        """The session is new or changed."""

    def evidence(self, session: Session, kind: str, note: str | None = None) -> None:
        """The frame at hand began, ended or corrected the session."""

    def reading(
        self,
        session: Session | None,
        evse_id: int | None,
        connector_id: int | None,
        reading: Reading,
        at: datetime,
    ) -> None:
        """A meter reading, inside a session or not."""

    def status(self, event: StatusChanged, at: datetime) -> None:
        """A status to keep and to show."""

    def desk(self, reason: str, session: Session | None, transaction_id: str | None) -> None:
        """The frame at hand needs a person."""

    def deviation(self, kind: str, subject: str, sample: str) -> None:
        """The station departed from the specification."""


class Remembered(NamedTuple):
    """An answer given, for the same frame when it comes again.

    Most answers say nothing; thousands of stations share one `NOTHING_SAID`.
    """

    answer: str | None  # the whole frame; None: an empty CALLRESULT
    at: datetime | None  # when the frame came, where that matters


NOTHING_SAID: Final = Remembered(None, None)


class Station:
    """State of one station on this node. Fields that the database sets are in `configure`."""

    __slots__ = (
        "answers",
        "auto_configure",
        "boot_status",
        "booted_at",
        "called_for",
        "client_id",
        "clock_noted",
        "clock_skew_s",
        "closures",
        "evses",
        "id",
        "key",
        "limits",
        "naive_is_local",
        "pending",
        "power_w_max",
        "public_evses",
        "quirks",
        "reservations",
        "sessions",
        "site_id",
        "stale",
        "time_zone",
    )

    def __init__(self, key: int, id: str) -> None:
        self.key = key
        self.id = id
        self.client_id = 0
        self.site_id: str | None = None
        self.time_zone = "UTC"
        self.boot_status = "accepted"
        self.auto_configure = True  # we may send it what nobody has ordered
        #: as they were when it last asked for its power; read anew each time
        self.limits: tuple[PowerLimit, ...] = ()
        #: of its client, as they were when a badge was last shown; read anew each time
        self.closures: tuple[Closure, ...] = ()
        #: as they were when a badge was last shown; read anew each time
        self.reservations: tuple[Kept, ...] = ()
        #: where anybody may charge who is a driver
        self.public_evses: frozenset[int] = frozenset()
        #: requests that we asked for, the only ones that a station on hold may send
        self.called_for: frozenset[str] = frozenset()
        self.quirks: frozenset[str] = frozenset()
        #: what each connector can give, by (evse_id, connector_id); no entry: not known
        self.power_w_max: dict[tuple[int, int | None], int] = {}
        self.clock_skew_s: float | None = None
        self.naive_is_local: bool | None = None
        #: both of them as the database has them, or soon will
        self.clock_noted: tuple[float | None, bool | None] = (None, None)
        self.booted_at: datetime | None = None
        #: status by (evse_id, connector_id); (0, None) is the station itself
        self.evses: dict[tuple[int, int | None], str] = {}
        #: open sessions and the newest ended ones, by transaction id
        self.sessions: dict[str, Session] = {}
        #: the newest answers, by the hash of the frame that they answered
        self.answers: dict[int, Remembered] = {}
        #: frames received and not yet committed
        self.pending = 0
        #: the database knows better: load again before the next event
        self.stale = False

    def find_by_start(self, start_key: str) -> Session | None:
        """The newest session in memory that began with this key, or anew under it."""
        anew = start_key + "#"
        found = [
            s
            for s in self.sessions.values()
            if s.start_key == start_key or s.start_key.startswith(anew)
        ]
        return max(found, key=lambda s: s.id, default=None)

    def power_w_max_of(self, evse_id: int | None, connector_id: int | None = None) -> int | None:
        """What the connector can give, or the strongest of the EVSE where that one is not known;
        None: nothing is known of them."""
        stated = self.power_w_max.get((evse_id or 0, connector_id))
        if stated is not None:
            return stated
        return max(
            (w for (evse, _), w in self.power_w_max.items() if evse == evse_id), default=None
        )

    def is_public(self, evse_id: int | None) -> bool:
        """Whether any driver may charge at the EVSE, or with None at one of them."""
        return evse_id in self.public_evses if evse_id is not None else bool(self.public_evses)

    def open_on(self, evse_id: int | None) -> list[Session]:
        """Active sessions on the EVSE, oldest first."""
        return sorted(
            (s for s in self.sessions.values() if s.state is State.ACTIVE and s.evse_id == evse_id),
            key=lambda s: s.started_at,
        )

    def forget_old_sessions(self) -> None:
        """Keep open sessions and the newest few others; only what is stored may be forgotten."""
        over = len(self.sessions) - RECENT_SESSIONS_MAX
        if over <= 0:
            return
        for transaction_id, session in list(self.sessions.items()):
            if over <= 0:
                return
            if session.state is not State.ACTIVE and session.change == sessions.UNCHANGED:
                del self.sessions[transaction_id]
                over -= 1


class Moment(NamedTuple):
    """What surrounds an event: when it came, the rules, and where the results go."""

    received_at: datetime
    rules: ClockRules
    power_default_w: int
    new_session_id: Callable[[], int]
    sink: Sink


# --- EVSEs --------------------------------------------------------------------------------------


def change_status(station: Station, event: StatusChanged, moment: Moment) -> None:
    """Take a status in; it is live right after a boot, and then tells the station's clock."""
    if station.booted_at is not None and (
        seconds(moment.received_at - station.booted_at) <= LIVE_AFTER_BOOT_S
    ):
        skew_s = skew_of_live_message(_in_utc(station, event.stated_at), moment.received_at)
        if skew_s is not None:
            station.clock_skew_s = skew_s
    believed = believe_now(station, event.stated_at, moment)
    if believed.doubt not in (None, "clock_missing"):
        moment.sink.deviation(str(believed.doubt), "status", str(event.stated_at))
    place = (event.evse_id, event.connector_id)
    before = station.evses.get(place, "unknown")
    if event.status not in STATUS_TRANSITIONS.get(before, STATUSES):
        moment.sink.deviation("unexpected_status", f"{before} > {event.status}", str(place))
    station.evses[place] = event.status
    moment.sink.status(event, believed.at)


# --- Times ----------------------------------------------------------------------------------------


def zone_time(station: Station, stated: datetime) -> datetime:
    """A time without a zone, read as UTC, as the clocks of the station's zone mean it."""
    try:
        return local_time(stated, ZoneInfo(station.time_zone))
    except (ZoneInfoNotFoundError, ValueError):
        return stated


def _in_utc(station: Station, stated: datetime | None) -> datetime | None:
    """The time that a station means. `fold` marks one without a zone; they may be local time."""
    if stated is None or not stated.fold or not station.naive_is_local:
        return stated
    return zone_time(station, stated)


def believe(
    station: Station, stated: datetime | None, received_at: datetime, rules: ClockRules
) -> BelievedTime:
    """What time is held to be true of what the station stated."""
    stated = _in_utc(station, stated)
    return believed_time(stated, received_at, _skew_s(station, stated, received_at, rules), rules)


def _skew_s(
    station: Station, stated: datetime | None, received_at: datetime, rules: ClockRules
) -> float | None:
    """The skew to judge a time by. A wrong clock does not hit the present: it was set right."""
    known_s = station.clock_skew_s
    if stated is None or known_s is None or abs(known_s) <= rules.skew_max_s:
        return known_s
    shown_s = seconds(stated - received_at)
    return shown_s if abs(shown_s) <= NOW_S else known_s


def believe_now(station: Station, stated: datetime | None, moment: Moment) -> BelievedTime:
    """The same, and what the time shows of the station's clock."""
    stated = _in_utc(station, stated)
    received_at, rules = moment.received_at, moment.rules
    station.clock_skew_s = _skew_s(station, stated, received_at, rules)
    believed = believed_time(stated, received_at, station.clock_skew_s, rules)
    if believed.doubt == "clock_ahead" and stated is not None:
        # Nothing queued comes from the future: the station's clock is ahead by at least this.
        station.clock_skew_s = seconds(stated - received_at)
    return believed
