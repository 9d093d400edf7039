"""A charge point without input or output: what it is, does, counts and wants to say.

Methods are what happens to a station (`plug_in`, `start`, `sample`, `stop`, `reboot`, ...) at a
moment `now` that the caller gives: an aware datetime, the true time, whatever the station's own
clock says. They queue messages (`simulators.telling`). A driver asks `next_message`, sends it as
`wire` writes it, and hands the answer to `answered` or `refused`; it lets time pass (`pass_time`)
and does what the station wants of its connection (`leaving`). Orders of the central system are
answered by `simulators.commands`.

States are the words of 1.6 (Available, Preparing, Charging, SuspendedEV, SuspendedEVSE, Finishing,
Reserved, Unavailable, Faulted). Energy is integrated exactly, under the limits of charging profiles
as they change, and counted in whole Wh, and `sessions` is the station's own count of what flowed:
the truth a test compares with the central system's database.
"""

from datetime import datetime
from typing import Any

from simulators import messages201, telling
from simulators.model import DRAWING, Evse, Message, Reservation, Session, StationConfig
from simulators.profiles import ProfileStore
from simulators.speaker import Speaker


class Station(Speaker):
    """The charge point."""

    def __init__(self, config: StationConfig, now: datetime, **options: Any) -> None:
        super().__init__(config, now, **options)
        self.profiles = ProfileStore()

    # ---- what happens to it

    def plug_in(self, evse_id: int, now: datetime) -> None:
        """A car is plugged in."""
        evse = self.evses[evse_id]
        self.count(now)
        evse.plugged = True
        if evse.state in ("Available", "Reserved"):
            self.set_state(evse, "Preparing", now)

    def start(
        self, evse_id: int, badge: str, now: datetime, *, remote_start_id: int | None = None
    ) -> Session | None:
        """Charging begins. None: this EVSE is in use, out of order, kept for another, not there."""
        evse = self.evses.get(evse_id)
        if evse is None or evse.session is not None or evse.inoperative:
            return None
        kept = evse.reservation
        if kept is not None and not self.is_kept_for(kept, badge):
            return None
        self.count(now)
        evse.plugged = True
        transaction_id = self.new_id() if self.is_201 else ""
        session = Session(
            self.config.identity, evse_id, badge, transaction_id, now, evse.register_wh
        )
        session.remote_start_id = remote_start_id
        if kept is not None:
            session.reservation_id = kept.reservation_id
            evse.reservation = None
        evse.session = session
        self.sessions.append(session)
        self.set_state(evse, "Charging", now)
        trigger = "Authorized" if remote_start_id is None else "RemoteStart"
        telling.tell_start(self, evse, session, now, trigger)
        self.follow_limits(now)
        return session

    def sample(self, evse_id: int, now: datetime, *, context: str = "Sample.Periodic") -> None:
        """The EVSE tells its meter values."""
        self.follow_limits(now)
        trigger = "Trigger" if context == "Trigger" else "MeterValuePeriodic"
        telling.tell_sample(self, self.evses[evse_id], now, context, trigger)

    def sample_all(self, now: datetime) -> None:
        """Every EVSE with a session tells its meter values."""
        for evse in self.evses.values():
            if evse.session is not None:
                self.sample(evse.evse_id, now)

    def suspend(self, evse_id: int, now: datetime, *, resume: bool = False) -> None:
        """The car stops drawing current, or draws again."""
        self.count(now)
        if self.evses[evse_id].session is not None:
            self._change_charging(self.evses[evse_id], "Charging" if resume else "SuspendedEV", now)
            self.follow_limits(now)

    def set_power(self, evse_id: int, power_w: int, now: datetime) -> None:
        """From `now` on the car draws `power_w`, where it is let."""
        self.count(now)
        self.evses[evse_id].power_w = power_w

    def stop(
        self, evse_id: int, now: datetime, *, reason: str = "Local", badge: str | None = None
    ) -> Session | None:
        """Charging ends; reasons are the words of 2.0.1. None: nothing was going on."""
        evse = self.evses[evse_id]
        self.count(now)
        session = evse.session
        if session is None:
            return None
        session.ended_at = now
        session.meter_stop_wh = evse.register_wh
        session.stop_reason = reason
        if self.faults.lose_stops:
            session.end_lost = True
        else:
            telling.tell_end(self, evse, session, now, badge)
        evse.session = None
        self.profiles.end_transaction(evse_id)
        self.set_state(evse, self.resting_state(evse, "Finishing"), now)
        self.pass_time(now)
        return session

    def present(self, evse_id: int, badge: str, now: datetime) -> Session | None:
        """A badge is shown at an EVSE: it starts a session, or ends the one that goes on.

        None: neither, because list or cache know better, or the session is somebody else's.
        """
        evse = self.evses[evse_id]
        if evse.session is not None:
            allowed = self.may_stop(evse.session, badge)
            return self.stop(evse_id, now, badge=badge) if allowed else None
        known = self.badges.find(badge)
        master = self.settings.text("master_group")
        if known is not None and (known.status != "Accepted" or (master and known.group == master)):
            return None  # a master never starts a session
        return self.start(evse_id, badge, now)

    def tell_needs(self, evse_id: int, current_a: int, energy_wh: int) -> None:
        """2.0.1: a car says by ISO 15118 how much it can take, and wants."""
        self.say(*messages201.charging_needs(evse_id, self.config.phases, current_a, energy_wh))

    def answered(self, message: Message, response: dict[str, Any], now: datetime) -> None:
        super().answered(message, response, now)
        session = message.session
        if not message.starts or session is None or session.authorization in (None, "Accepted"):
            return
        evse = self.evses[session.evse_id]
        if evse.session is session and self.settings.flag("stop_on_invalid"):
            self.stop(evse.evse_id, now, reason="DeAuthorized")

    def unplug(self, evse_id: int, now: datetime) -> None:
        """The car leaves; what still charges ends."""
        evse = self.evses[evse_id]
        evse.plugged = False
        if evse.session is not None:
            self.stop(evse_id, now, reason="EVDisconnected")
        self.set_state(evse, self.resting_state(evse, "Preparing"), now)

    def fault(self, evse_id: int, now: datetime, error_code: str = "InternalError") -> None:
        """The EVSE breaks down, which ends its charging; "NoError" repairs it."""
        evse = self.evses[evse_id]
        if evse.session is not None and error_code != "NoError":
            self.stop(evse_id, now, reason="Other")
        evse.error_code = error_code
        self.set_state(evse, self.resting_state(evse, "Preparing"), now)

    def set_available(self, evse_id: int, available: bool, now: datetime) -> bool:
        """Take an EVSE (0: all) out of or into service. False: a session goes on, done after it."""
        chosen = list(self.evses.values()) if evse_id == 0 else [self.evses[evse_id]]
        for evse in chosen:
            evse.inoperative = not available
            if evse.session is None:
                self.set_state(evse, self.resting_state(evse, "Preparing"), now)
        return available or all(evse.session is None for evse in chosen)

    def reserve(self, evse_id: int, reservation: Reservation, now: datetime) -> None:
        """Keep an EVSE; a reservation of the same id is replaced, wherever it was."""
        self.release(reservation.reservation_id, now)
        evse = self.evses[evse_id]
        evse.reservation = reservation
        self.set_state(evse, self.resting_state(evse, "Preparing"), now)
        self.agenda.at(reservation.expires_at, self._let_expire)
        self.notify()

    def release(self, reservation_id: int, now: datetime) -> bool:
        """Keep an EVSE no longer. False: there is no such reservation."""
        for evse in self.evses.values():
            if evse.reservation and evse.reservation.reservation_id == reservation_id:
                evse.reservation = None
                if evse.session is None:
                    self.set_state(evse, self.resting_state(evse, "Preparing"), now)
                return True
        return False

    def disturb_meter(self, evse_id: int, error_wh: int) -> None:
        """From now on the meter tells `error_wh` more (or less) than what flowed."""
        self.evses[evse_id].register_error_wh += error_wh

    def reset_meter(self, evse_id: int) -> None:
        """The meter tells 0 now and counts on from there; the true count goes on."""
        evse = self.evses[evse_id]
        evse.register_error_wh = -evse.register_wh

    def stop_all(self, now: datetime, reason: str) -> None:
        """Every session ends for one reason."""
        for evse in self.evses.values():
            self.stop(evse.evse_id, now, reason=reason)

    def reboot(self, now: datetime, *, keep_sessions: bool = True, reason: str = "PowerUp") -> None:
        """Off and on again. Sessions go on after it, or end with it (reason PowerLoss or Reboot).

        What was not sent and concerns no transaction is forgotten, and so are plans; the queue of
        transaction messages is in permanent memory, and so is all that orders have set.
        """
        self.count(now)
        self.agenda.clear()
        if not keep_sessions:
            self.stop_all(now, "PowerLoss" if reason == "PowerUp" else "ImmediateReset")
        for evse in self.evses.values():
            if evse.reservation is not None:
                self.agenda.at(evse.reservation.expires_at, self._let_expire)
        self.outbox.forget()
        self.booted_at = now
        self.boot_reason = reason
        self.booting = True
        self.boot_status = None
        self.leaving = None
        if self.is_201:
            self.access.use_priority()
        self.notify()

    def pass_time(self, now: datetime) -> None:
        """Do what is due, and follow limits that have changed."""
        self.follow_limits(now)
        self.agenda.run(now, idle=all(evse.session is None for evse in self.evses.values()))

    # ---- power and state

    def count(self, now: datetime) -> None:
        """Let all meters run up to `now`, each under its limit as that has changed meanwhile."""
        for evse in self.evses.values():
            while evse.state in DRAWING and evse.metered_at is not None and evse.metered_at < now:
                limit_w, until = self.limit(evse, evse.metered_at)
                evse.count(now if until is None else min(now, until), limit_w)
            evse.count(now)

    def limit(self, evse: Evse, now: datetime) -> tuple[float | None, datetime | None]:
        """How much may flow in W (None: no limit; 0: it pauses), and when that may change.

        A limit that a car cannot be told, below 6 A on each phase, pauses the charging.
        """
        if self.faults.ignore_profiles or not self.profiles.profiles:
            return None, None
        began_at = evse.session.started_at if evse.session is not None else now
        sharing = sum(other.state in DRAWING for other in self.evses.values())
        allowed = self.profiles.allowed(
            evse.evse_id, now, began_at, phases=self.config.phases, sharing=max(1, sharing)
        )
        return 0.0 if allowed.pauses else allowed.power_w, allowed.until

    def flowing_w(self, evse: Evse, now: datetime) -> float:
        """The power at `now`."""
        if evse.state not in DRAWING:
            return 0
        limit_w, _ = self.limit(evse, now)
        return evse.power_w if limit_w is None else min(evse.power_w, limit_w)

    def next_due(self, now: datetime) -> datetime | None:
        """When `pass_time` has something to do; None: not before something happens."""
        drawing = [evse for evse in self.evses.values() if evse.state in DRAWING]
        # Seen from when it was last looked at: what has changed since then is due.
        limits = [self.limit(evse, evse.metered_at or now)[1] for evse in drawing]
        return min((d for d in (self.agenda.next_due, *limits) if d is not None), default=None)

    def follow_limits(self, now: datetime) -> None:
        """Count up to `now`; pause what may draw nothing any more, and let go on what may."""
        self.count(now)
        for evse in self.evses.values():
            if evse.state in DRAWING:
                paused = self.limit(evse, now)[0] == 0
                self._change_charging(evse, "SuspendedEVSE" if paused else "Charging", now)

    def set_state(self, evse: Evse, state: str, now: datetime) -> None:
        """Take a state and tell it, when that is a change and the station is online."""
        if evse.state != state:
            evse.state = state
            if self.online:
                telling.tell_state(self, evse, now)

    def resting_state(self, evse: Evse, plugged: str) -> str:
        """The state of an EVSE without a session; `plugged`: when a car is there."""
        if evse.error_code != "NoError":
            return "Faulted"
        if evse.inoperative:
            return "Unavailable"
        if evse.plugged:
            return plugged
        return "Available" if evse.reservation is None else "Reserved"

    def is_kept_for(self, reservation: Reservation, badge: str) -> bool:
        """Whether a badge may use what is reserved: it is the one, or of its group."""
        group = self.badges.group(badge)
        return self.badges.belong_together(badge, reservation.badge) or (
            group is not None and group == reservation.group
        )

    def may_stop(self, session: Session, badge: str) -> bool:
        """Whether a badge shown may end a session: its own, one of its group, or a master."""
        master = self.settings.text("master_group")
        group = self.badges.group(badge)
        return self.badges.belong_together(badge, session.badge) or bool(master and group == master)

    def _change_charging(self, evse: Evse, state: str, now: datetime) -> None:
        if evse.state == state:
            return
        self.set_state(evse, state, now)
        if self.is_201:
            telling.tell_sample(self, evse, now, "Other", "ChargingStateChanged")

    def _let_expire(self, now: datetime) -> None:
        """End reservations that nobody came for."""
        for evse in self.evses.values():
            kept = evse.reservation
            if kept is not None and kept.expires_at <= now:
                self.release(kept.reservation_id, now)
                if self.is_201:
                    payload = {
                        "reservationId": kept.reservation_id,
                        "reservationUpdateStatus": "Expired",
                    }
                    self.say("ReservationStatusUpdate", payload)
