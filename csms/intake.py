"""Events into the state of their stations, and what is to be answered.

Here the pure domain meets what must be known for it: badges and their decisions, ids for new
sessions, the settings. Nothing here waits; what has to be read first is told as a `Need`.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from decimal import Decimal

from csms.authorization import decide_shown, decide_start
from csms.config import Settings
from csms.domain import attribution, limits
from csms.domain import session as sessions
from csms.domain import station as stations
from csms.domain.clock import ClockRules
from csms.domain.events import (
    Alive,
    Booted,
    CarNeeds,
    CarPlan,
    Decision,
    Ended,
    Event,
    Metered,
    Outcome,
    Reported,
    Started,
    StatusChanged,
    TokenShown,
    Updated,
)
from csms.domain.limits import LimitStep
from csms.domain.metering import Reading
from csms.domain.session import Flag, Session, State
from csms.domain.station import Moment, Station
from csms.domain.values import digest64, uid_key
from csms.exchange import NOT_ASKED, ROAMING, Exchange, Facts, Group, Need, Question
from csms.lookups import Lookups
from csms.observations import Observations

#: of a session: what it costs so far, in euros, with the readings of its newest event, each with
#: the moment that is believed of it; None: no tariff applies
CostOf = Callable[[Station, Session, Sequence[tuple[datetime, Reading]], datetime], Decimal | None]


class Intake:
    """Takes events in, into the group it is given."""

    def __init__(
        self,
        settings: Settings,
        lookups: Lookups,
        observations: Observations,
        now: Callable[[], datetime],
    ) -> None:
        self.rules = ClockRules(settings.clock_skew_max_s, settings.offline_age_max_days * 86_400.0)
        #: gives ids to new sessions; the replay of a journal gives those of the journal
        self.new_session_id: Callable[[], int] = lookups.new_session_id
        #: has the last word on badges; the replay says what was said then
        self.judge: Callable[[Exchange, Decision | None], Decision | None] = _as_decided
        #: what a session of 2.0.1 costs so far, told of all its events; handed in from above
        self.cost_of: CostOf = _no_tariff
        #: whether drivers of partners may charge at a site; handed in from above
        self.roams_at: Callable[[str | None], bool] = _nowhere
        #: what an EVSE may give now, at most what the car takes; handed in by a planner
        self.limit_w_of: Callable[[Station, int, datetime, int | None], int | None] = _limit_w
        self._settings = settings
        self._lookups = lookups
        self._observations = observations
        self._now = now
        #: sessions that a look-up may not have seen yet, by badge
        self._opening: dict[str, dict[int, tuple[Station, Session]]] = {}
        #: of those, the ones that a look-up which begins now sees
        self._committed: list[Session] = []

    def need_of(self, station: Station, event: Event) -> Need | None:
        """What must be looked up before the event can be recorded, None: nothing."""
        match event:
            case Updated(transaction_id=id, token_uid=uid):
                session = station.sessions.get(id)
                known = session is not None
                if known and (uid is None or self._token_is_settled(session, uid)):
                    return None
                return Need(uid, () if known else (("transaction_id", id),))
            case Metered(transaction_id=None):
                return None
            case Metered(transaction_id=str() as id):
                known = id in station.sessions or not id.isdigit() or id == "0"
                return None if known else Need(None, (("transaction_id", id),))
            case Started(transaction_id=None, token_uid=uid):
                key = attribution.start_key_16(event)
                known = station.find_by_start(key) is not None
                return Need(uid, () if known else (("start_key", key),))
            case Started(transaction_id=str() as id, token_uid=uid):
                known = id in station.sessions
                return Need(uid, () if known else (("transaction_id", id),))
            case Ended(transaction_id=id, token_uid=uid):
                if id in station.sessions:
                    return Need(uid) if uid is not None else None
                wanted: tuple[tuple[str, str], ...] = (("transaction_id", id),)
                if event.stated_at is not None:
                    wanted += (("ended_at", event.stated_at.isoformat()),)
                return Need(uid, wanted)
            case TokenShown(uid=uid):
                return Need(uid)
            case Booted():
                return Need(station=True)
            case CarNeeds() | CarPlan():
                return Need(limits=True)
        return None

    def question_of(self, exchange: Exchange, event: Event, facts: Facts) -> Question | None:
        """What a partner has to say of the badge before the event is recorded, now that ours are
        looked through; None: nothing, or it was asked. What began offline has happened, and a badge
        of ours is nobody else's."""
        station, at = exchange.station, exchange.received_at
        if exchange.outside is not NOT_ASKED or not self.roams_at(station.site_id):
            return None
        match event:
            case TokenShown(uid=uid, type=kind):
                evse_id = None
            case Started(token_uid=str() as uid, token_type=kind, evse_id=evse_id, offline=False):
                if _is_known_start(station, event):
                    return None
            case Updated(token_uid=str() as uid, token_type=kind, evse_id=evse_id, offline=False):
                if self._token_is_settled(station.sessions.get(event.transaction_id), uid):
                    return None
            case _:
                return None
        if facts.token is not None and not facts.token.is_to_be_asked_about(station.site_id, at):
            return None
        return Question(
            ROAMING,
            {
                "uid": uid,
                "type": kind,
                "station_key": station.key,
                "evse_id": evse_id,
                "site_id": station.site_id,
                "client_id": station.client_id,
                "at": at,
            },
        )

    @staticmethod
    def _token_is_settled(session: Session | None, uid: str) -> bool:
        """Whether the badge was judged for the session before: no second look-up for it."""
        return (
            session is not None
            and session.token_uid is not None
            and uid_key(session.token_uid) == uid_key(uid)
            and session.authorization_status == sessions.ACCEPTED
        )

    def record(self, exchange: Exchange, event: Event, facts: Facts, group: Group) -> Outcome:
        """Bring the event into the state of its station and into the group."""
        station = exchange.station
        at = exchange.received_at
        moment = Moment(at, self.rules, self._settings.power_w_max, self.new_session_id, group)
        match event:
            case Updated():
                decision = self._decide(exchange, event.token_uid, facts, event, group)
                before = len(group.readings)
                session = attribution.update_session(station, event, decision, moment)
                new = _believed(event.readings, group, before)
                return Outcome(at, decision, cost=self.cost_of(station, session, new, at))
            case Metered():
                attribution.take_meter_values(station, event, moment)
                return Outcome(at)
            case Started():
                return self._record_start(exchange, event, facts, moment, group)
            case Ended():
                return self._record_end(exchange, event, facts, moment, group)
            case StatusChanged():
                stations.change_status(station, event, moment)
                return Outcome(at)
            case TokenShown():
                return Outcome(at, self._decide(exchange, event.uid, facts, event, group))
            case Booted():
                return self._record_boot(station, event, group, at, exchange.protocol)
            case Reported():
                _report(group, station, at, event.kind, event.content, event.stated_at)
                if event.variables:
                    group.variables.append((station.key, list(event.variables), at))
                granted = event.kind == "sign_certificate" and self._settings.signs_certificates
                told = None if exchange.outside is NOT_ASKED else exchange.outside
                return Outcome(at, told=told, granted=granted)
            case CarNeeds():
                return self._record_needs(station, event, group, at)
            case CarPlan():
                _report(group, station, at, "charging_schedule", event.content, event.stated_at)
                allowed = self._limits(station, event.evse_id, at, None)
                begins_at = event.stated_at or at
                above = limits.exceeds(event.periods, begins_at, event.duration_s, allowed)
                return Outcome(at, plan_exceeds=above)
            case Alive():
                return Outcome(self._now())

    def _record_start(
        self, exchange: Exchange, event: Started, facts: Facts, moment: Moment, group: Group
    ) -> Outcome:
        station = exchange.station
        decision = self._decide_start(station, event, facts, moment.received_at, group)
        decision = self.judge(exchange, decision)
        before = len(group.readings)
        session = attribution.start_session(station, event, decision, moment)
        if event.transaction_id is not None:
            new = _believed(event.readings, group, before)
            self.cost_of(station, session, new, moment.received_at)
        if session.is_new and session.token_uid is not None:
            opening = self._opening.setdefault(uid_key(session.token_uid), {})
            opening[session.id] = (station, session)
        if decision is not None and session.authorization_status != sessions.NOBODY:
            # A repeated start gets the answer that it got before.
            decision = decision._replace(status=session.authorization_status)
        return Outcome(moment.received_at, decision, session.transaction_id)

    def _record_end(
        self, exchange: Exchange, event: Ended, facts: Facts, moment: Moment, group: Group
    ) -> Outcome:
        station = exchange.station
        decision = self._decide(exchange, event.token_uid, facts, event, group)
        if exchange.protocol == "ocpp1.6":
            attribution.stop_transaction(station, event, moment)
            return Outcome(moment.received_at, decision)
        known = station.sessions.get(event.transaction_id)
        was_over = known is not None and known.state is not State.ACTIVE
        before = len(group.readings)
        session = attribution.end_session(station, event, decision, moment)
        cost = None
        if session is not None:
            new = _believed(event.readings, group, before)
            cost = self.cost_of(station, session, new, moment.received_at)
        offline = event.offline or (session is not None and Flag.OFFLINE in session.flags)
        missing = session is not None and bool(session.seq_no_missing) and not was_over
        return Outcome(
            moment.received_at,
            decision,
            messages_missing=missing and offline,
            cost=cost,
        )

    def _record_needs(
        self, station: Station, event: CarNeeds, group: Group, at: datetime
    ) -> Outcome:
        _report(group, station, at, "charging_needs", event.content, None)
        running = station.open_on(event.evse_id)
        return Outcome(
            at,
            transaction_id=running[-1].transaction_id if running else None,
            limits=self._limits(station, event.evse_id, at, event.power_w_max),
        )

    def _limits(
        self, station: Station, evse_id: int, now: datetime, car_w_max: int | None
    ) -> tuple[LimitStep, ...]:
        """What the EVSE may give from now on; empty when nothing ever bounds it."""
        found = limits.steps(
            station.limits,
            evse_id,
            now,
            lambda moment: self.limit_w_of(station, evse_id, moment, car_w_max),
            self._settings.charging_profile_periods_max,
        )
        return () if all(step.limit_w is None for step in found) else found

    def _record_boot(
        self, station: Station, event: Booted, group: Group, at: datetime, protocol: str
    ) -> Outcome:
        station.booted_at = at
        station.quirks = self._lookups.quirks_of(event.vendor, event.model, event.firmware)
        group.boots[station.key] = {
            "station_key": station.key,
            "vendor": event.vendor,
            "model": event.model,
            "reported_serial": event.serial,
            "firmware": event.firmware,
            "booted_at": at,
            "spoken": protocol,
        }
        _report(group, station, at, "boot", event._asdict(), None)
        accepted = station.boot_status == "accepted"
        if accepted:
            station.called_for = frozenset()
        interval_s = self._settings.heartbeat_interval_s
        if accepted and interval_s >= 60:
            # Stations that boot together would else beat together for ever.
            interval_s += digest64(station.id) % (interval_s // 10)
        return Outcome(
            self._now(),
            boot_status=station.boot_status,
            interval_s=interval_s if accepted else self._settings.pending_interval_s,
        )

    def _decide(
        self, exchange: Exchange, uid: str | None, facts: Facts, event: Event, group: Group
    ) -> Decision | None:
        """The decision about a badge shown within or outside a session; None: none was shown."""
        if uid is None:
            return None
        station, at = exchange.station, exchange.received_at
        if isinstance(event, Updated):
            session = station.sessions.get(event.transaction_id)
            if self._token_is_settled(session, uid):
                return Decision(sessions.ACCEPTED)
        if facts.token is None:
            group.note_unknown_token(station, uid, at)
        return self.judge(exchange, decide_shown(facts.token, station, at))

    def _decide_start(
        self, station: Station, event: Started, facts: Facts, received_at: datetime, group: Group
    ) -> Decision | None:
        if event.token_uid is None:
            # 1.6 answers every start with a status; 2.0.1 may start without a badge.
            return Decision("Invalid") if event.transaction_id is None else None
        if facts.token is None:
            group.note_unknown_token(station, event.token_uid, received_at)
        shown_at = event.stated_at if event.offline and event.stated_at else received_at
        opening = self._opening.get(uid_key(event.token_uid), {})
        here = (station.key, event.evse_id)
        return decide_start(
            facts.token,
            station,
            event.evse_id,
            shown_at,
            offline=event.offline,
            concurrent_max=self._settings.token_concurrent_max,
            opening=frozenset(
                session.id
                for other, session in opening.values()
                if session.state is State.ACTIVE
                and session.authorization_status == sessions.ACCEPTED
                and (other.key, session.evse_id) != here
            ),
            over=frozenset(
                session.id
                for session in station.sessions.values()
                if session.state is not State.ACTIVE
            ),
        )

    def committed(self, session: Session) -> None:
        """The session's start is in the database, where look-ups see it that begin from now on. One
        that is under way may have read before."""
        if session.token_uid is not None and uid_key(session.token_uid) in self._opening:
            self._committed.append(session)

    def look_up_begins(self) -> None:
        """Whatever was committed until now is seen by it; what was read before has been used."""
        for session in self._committed:
            key = uid_key(session.token_uid or "")
            opening = self._opening.get(key)
            if opening is not None:
                opening.pop(session.id, None)
                if not opening:
                    del self._opening[key]
        self._committed.clear()

    def forget(self) -> None:
        """What was not committed never was."""
        self._opening.clear()
        self._committed.clear()


def _report(
    group: Group,
    station: Station,
    at: datetime,
    kind: str,
    content: dict[str, object],
    stated_at: datetime | None,
) -> None:
    group.reports.append(
        {
            "station_key": station.key,
            "received_at": at,
            "stated_at": stated_at,
            "kind": kind,
            "content": content,
        }
    )


def _believed(
    readings: Sequence[Reading], group: Group, before: int
) -> Sequence[tuple[datetime, Reading]]:
    """Readings that were put into the group, with the moments that it has of them."""
    moments = (row[3] for row in group.readings[before:])
    return list(zip(moments, readings, strict=False))


def _no_tariff(
    station: Station,
    session: Session,
    told: Sequence[tuple[datetime, Reading]],
    now: datetime,
) -> Decimal | None:
    return None


def _is_known_start(station: Station, event: Started) -> bool:
    """Whether it is the repetition of one: that gets the answer which it got before."""
    if event.transaction_id is not None:
        return event.transaction_id in station.sessions
    return station.find_by_start(attribution.start_key_16(event)) is not None


def _nowhere(site_id: str | None) -> bool:
    return False


def _limit_w(station: Station, evse_id: int, now: datetime, car_w_max: int | None) -> int | None:
    running = station.open_on(evse_id)
    connector_id = running[-1].connector_id if running else None
    return limits.limit_w(
        station.limits,
        evse_id,
        now,
        connector_w_max=station.power_w_max_of(evse_id, connector_id),
        car_w_max=car_w_max,
    )


def _as_decided(exchange: Exchange, decision: Decision | None) -> Decision | None:
    return decision
