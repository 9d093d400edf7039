"""Orders about power: charging profiles, and what they amount to."""

import itertools
from datetime import datetime, timedelta

from simulators.orders.answer import Answer, Handler, Payload, status
from simulators.profiles import (
    STATION_MAX,
    TX,
    VOLTAGE_V,
    Profile,
    read_profile,
    same_place,
)
from simulators.station import Station

SCHEDULE_STEPS_MAX = 1_000  # periods of a composite schedule
DURATION_MAX_S = 8 * 86_400


def for_remote_start(station: Station, wire: Payload, evse_id: int) -> Profile | None:
    """The profile that came with a remote start; None: it cannot be followed."""
    profile = _readable(station, wire, evse_id, station.booted_at)
    if profile is None or profile.purpose != TX or profile.transaction_id is not None:
        return None
    return profile


def _readable(station: Station, wire: Payload, evse_id: int, now: datetime) -> Profile | None:
    """The profile as far as its own form goes; None: beyond what the station can do."""
    settings = station.settings
    try:
        profile = read_profile(wire, evse_id, now)
    except ValueError:
        return None
    fits = (
        profile.purpose is not None
        and profile.stack_level <= settings.number("profile_level_max")
        and len(profile.periods) <= settings.number("profile_periods_max")
        and all(period.limit >= 0 for period in profile.periods)
    )
    return profile if fits else None


def _is_fitting(station: Station, profile: Profile) -> bool:
    """Whether it can be set on that EVSE now."""
    if profile.purpose == STATION_MAX:
        return profile.evse_id == 0
    if profile.purpose == TX:
        evse = station.evses.get(profile.evse_id)
        if evse is None or evse.session is None:
            return False
        wanted = profile.transaction_id
        if station.is_201 and wanted is None:
            return False
        return wanted in (None, evse.session.transaction_id)
    return profile.evse_id == 0 or profile.evse_id in station.evses


def set_profile(station: Station, payload: Payload, now: datetime) -> Answer:
    """A profile in the place of another is taken in 1.6, and refused in 2.0.1 unless it has the
    other's id."""
    wire = payload["chargingProfile" if station.is_201 else "csChargingProfiles"]
    evse_id = payload["evseId" if station.is_201 else "connectorId"]
    if wire["chargingProfilePurpose"] in station.faults.refuse_purposes:
        return status("Rejected" if station.is_201 else "NotSupported")
    profile = _readable(station, wire, evse_id, now)
    if profile is None or not _is_fitting(station, profile):
        return status("Rejected")
    others = [p for p in station.profiles.profiles if p.profile_id != profile.profile_id]
    if station.is_201 and any(same_place(other, profile) for other in others):
        answer = status("Rejected")
        answer.response["statusInfo"] = {"reasonCode": "DuplicateProfile"}
        return answer
    if len(others) >= station.settings.number("profiles_max"):
        return status("Rejected")

    def effect(now: datetime) -> None:
        station.count(now)
        station.profiles.add(profile)
        station.follow_limits(now)
        station.notify()

    return status("Accepted", effect)


def _clear(station: Station, found: list[Profile]) -> Answer:
    def effect(now: datetime) -> None:
        station.count(now)
        station.profiles.remove(found)
        station.follow_limits(now)

    return status("Accepted", effect) if found else status("Unknown")


def clear16(station: Station, payload: Payload, now: datetime) -> Answer:
    """An id says all; without one the other criteria together, without any of them everything."""
    if "id" in payload:
        return _clear(station, station.profiles.find(ids=[payload["id"]]))
    found = station.profiles.find(
        evse_id=payload.get("connectorId"),
        purpose=payload.get("chargingProfilePurpose"),
        stack_level=payload.get("stackLevel"),
    )
    return _clear(station, found)


def clear201(station: Station, payload: Payload, now: datetime) -> Answer:
    if "chargingProfileId" in payload:
        return _clear(station, station.profiles.find(ids=[payload["chargingProfileId"]]))
    criteria = payload.get("chargingProfileCriteria", {})
    found = station.profiles.find(
        evse_id=criteria.get("evseId"),
        purpose=criteria.get("chargingProfilePurpose"),
        stack_level=criteria.get("stackLevel"),
    )
    return _clear(station, found)


def get_profiles(station: Station, payload: Payload, now: datetime) -> Answer:
    """Told in one ReportChargingProfiles for each EVSE that has some."""
    wanted = payload["chargingProfile"]
    found = station.profiles.find(
        ids=wanted.get("chargingProfileId"),
        evse_id=payload.get("evseId"),
        purpose=wanted.get("chargingProfilePurpose"),
        stack_level=wanted.get("stackLevel"),
    )
    if not found or "CSO" not in wanted.get("chargingLimitSource", ["CSO"]):
        return status("NoProfiles")

    def effect(now: datetime) -> None:
        ordered = sorted(found, key=lambda profile: profile.evse_id)
        groups = [
            (evse_id, list(group))
            for evse_id, group in itertools.groupby(ordered, key=lambda profile: profile.evse_id)
        ]
        for number, (evse_id, profiles) in enumerate(groups, 1):
            report = {
                "requestId": payload["requestId"],
                "chargingLimitSource": "CSO",
                "chargingProfile": [profile.wire for profile in profiles],
                "tbc": number < len(groups),
                "evseId": evse_id,
            }
            station.say("ReportChargingProfiles", report)

    return status("Accepted", effect)


def composite(station: Station, payload: Payload, now: datetime) -> Answer:
    """From now on, in the unit asked for (A unless said); no limit is what the EVSE can do."""
    evse_id = payload["evseId" if station.is_201 else "connectorId"]
    duration_s = payload["duration"]
    if (evse_id and evse_id not in station.evses) or not 0 < duration_s <= DURATION_MAX_S:
        return status("Rejected")
    unit = payload.get("chargingRateUnit", "A")
    now = now.replace(microsecond=0)
    periods = _periods(station, evse_id, now, duration_s, unit)
    schedule: Payload = {"chargingRateUnit": unit, "chargingSchedulePeriod": periods}
    answer = status("Accepted")
    if station.is_201:
        answer.response["schedule"] = schedule | {
            "evseId": evse_id,
            "duration": duration_s,
            "scheduleStart": station.stamp(now),
        }
    else:
        answer.response |= {
            "connectorId": evse_id,
            "scheduleStart": station.stamp(now),
            "chargingSchedule": schedule | {"duration": duration_s},
        }
    return answer


def _periods(
    station: Station, evse_id: int, now: datetime, duration_s: int, unit: str
) -> list[Payload]:
    phases = station.config.phases
    evse = station.evses.get(evse_id)
    began_at = evse.session.started_at if evse is not None and evse.session is not None else now
    most_w = sum(e.power_w for e in station.evses.values() if evse_id in (0, e.evse_id))
    until = now + timedelta(seconds=duration_s)
    steps = station.profiles.steps(evse_id, now, until, began_at, phases=phases)
    periods: list[Payload] = []
    for start, limit_w in itertools.islice(steps, SCHEDULE_STEPS_MAX):
        power_w = most_w if limit_w is None else min(limit_w, most_w)
        limit = power_w / VOLTAGE_V / phases if unit == "A" else power_w
        period: Payload = {
            "startPeriod": int((start - now).total_seconds()),
            "limit": round(limit, 1),
        }
        if phases != 3:
            period["numberPhases"] = phases
        periods.append(period)
    return periods


HANDLERS_16: dict[str, Handler] = {
    "ClearChargingProfile": clear16,
    "GetCompositeSchedule": composite,
    "SetChargingProfile": set_profile,
}
HANDLERS_201: dict[str, Handler] = {
    "ClearChargingProfile": clear201,
    "GetChargingProfiles": get_profiles,
    "GetCompositeSchedule": composite,
    "SetChargingProfile": set_profile,
}
