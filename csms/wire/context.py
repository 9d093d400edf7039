"""What a version's readers share: profiles of sampled values, the station's way with time."""

import hashlib
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final, NamedTuple

import msgspec

from csms.domain import station as stations
from csms.domain.clock import ClockRules, parse_time
from csms.domain.events import Event, Outcome
from csms.domain.metering import Profile, SampleKind
from csms.domain.station import Station
from csms.domain.values import UTC, digest64, seconds
from csms.exchange import Question
from csms.wire.schema import PayloadError

PROFILES_MAX: Final = 10_000
NAN: Final = float("nan")
PLACE_ID_MAX: Final = 10_000  # of EVSEs and connectors: no station has more
ID_LENGTH_MAX: Final = 255  # of badges and transactions, seven times what the schemas allow
INTEGER_MAX: Final = 2**31 - 1


class OwnOrder(NamedTuple):
    """An order of ours that follows from what a station told."""

    action: str
    payload: dict[str, Any]
    why: str
    demanded: bool = False  # by the standard: also of stations that we send nothing unasked


class Request(NamedTuple):
    """One request of a version: from struct to event, from outcome to the answer's JSON text."""

    read: "Callable[[Any, Context], Event]"
    answer: Callable[[Event, Outcome], str]
    #: fields without which no sense can be made of it, dots for nesting
    essential: tuple[str, ...] = ()
    #: keeps or changes sessions: refused ones go to the desk, failing databases leave it unanswered
    transaction: bool = False
    #: what somebody outside has to answer first; None: nobody
    outside: Callable[[Event], Question | None] | None = None
    #: what we order of the station on account of it, in the same commit
    follow: Callable[[Event, Outcome], OwnOrder | None] | None = None


class Profiles:
    """The profiles of sampled values seen, by the key that a version's reader makes."""

    def __init__(self) -> None:
        self._by_key: dict[Any, Profile] = {}
        self._by_kinds: dict[tuple[SampleKind, ...], Profile] = {}

    def get(self, key: Any, kinds: Callable[[Any], tuple[SampleKind, ...]]) -> Profile:
        """The profile of the key; `kinds(key)` is asked once for a key that is new."""
        profile = self._by_key.get(key)
        if profile is None:
            if len(self._by_key) >= PROFILES_MAX:  # a station that varies at random
                self._by_key.clear()
                self._by_kinds.clear()
            worked_out = kinds(key)
            profile = self._by_kinds.setdefault(worked_out, Profile(worked_out))
            self._by_key[key] = profile
        return profile


class Context(NamedTuple):
    """What surrounds the payload at hand."""

    station: Station
    received_at: datetime
    profiles: Profiles
    rules: ClockRules

    def read_time(self, text: str) -> tuple[datetime | None, str | None]:
        """A time as this station writes it; a zone-less one shows what it means by it.

        Zone-less times are UTC by OCPP 1.6; many stations mean local time (field case 23). The
        first one that fits the moment of receipt in one reading only decides for the station.
        """
        moment, deviation = parse_time(text)
        if deviation == "time_without_zone" and moment is not None:
            local = stations.zone_time(self.station, moment)
            if "naive_time_is_local" in self.station.quirks:
                self.station.naive_is_local = True
            elif self._is_now(moment) != self._is_now(local):
                self.station.naive_is_local = self._is_now(local)
        return moment, deviation

    def is_old(self, stated_at: datetime | None) -> bool:
        """Whether the station tells after the fact, by the time that is believed of it."""
        if stated_at is None:
            return False
        at = stations.believe(self.station, stated_at, self.received_at, self.rules).at
        return seconds(self.received_at - at) > self.rules.skew_max_s

    def _is_now(self, moment: datetime) -> bool:
        return abs(seconds(moment - self.received_at)) <= self.rules.skew_max_s


def place_id(value: float) -> int:
    """The number of an EVSE or connector.

    Raises: PayloadError for one that no station has.
    """
    if not 0 <= value <= PLACE_ID_MAX:
        raise PayloadError("PropertyConstraintViolation", f"there is no connector or EVSE {value}")
    return int(value)


def optional_place_id(value: float | None) -> int | None:
    """The same from 1 on where it may be left out, and what makes no sense is."""
    return int(value) if value is not None and 1 <= value <= PLACE_ID_MAX else None


def whole(value: float | None) -> int | None:
    """A number that counts or names something; None for what is beyond 32 bits."""
    return int(value) if value is not None and abs(value) <= INTEGER_MAX else None


def bounded_id(text: str) -> str:
    """A name given by a station; by its digest, always the same, where it is far too long."""
    if len(text) <= ID_LENGTH_MAX:
        return text
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def stated(moment: datetime | None) -> datetime | None:
    """A time as stated; at the ends of the calendar, where UTC may fall out of it, none."""
    return moment if moment is None or 1 < moment.year < 9999 else None


def array_literal(numbers: list[float]) -> str:
    """The numbers as PostgreSQL writes an array."""
    return "{" + str(numbers)[1:-1] + "}"


def reading_digest(place: str, values: str, texts: str | None, profile: Profile) -> int:
    """The key of a reading's content within its station and moment."""
    return digest64(place, values, texts or "", profile.mark)


def texts_json(texts: dict[str, str]) -> str:
    """Values that are no numbers, by position, as the JSON text that is stored."""
    return msgspec.json.encode(texts).decode()


def time_text(moment: datetime) -> str:
    """A time on the wire: RFC 3339 in UTC with milliseconds."""
    utc = moment.astimezone(UTC)
    return f"{utc:%Y-%m-%dT%H:%M:%S}.{utc.microsecond // 1000:03d}Z"


def encode(payload: dict[str, Any]) -> str:
    """An answer's payload as compact JSON."""
    return msgspec.json.encode(payload).decode()


def plain(message: Any) -> dict[str, Any]:
    """A struct as plain JSON values without what is absent, for `Reported`."""
    built = msgspec.to_builtins(message)
    content = {key: value for key, value in built.items() if value is not None}
    assert isinstance(content, dict)
    return content
