"""Charging profiles of a simulated station: limits bound the power, as schedules go on."""

from typing import Any

from simulators.faults import Faults
from simulators.model import OCPP16, OCPP201
from tests.simulator_orders import (
    BEGIN,
    PROTOCOLS,
    composite,
    later,
    order,
    profile,
    set_profile,
    station_of,
    told,
)


@PROTOCOLS
def test_a_limit_bounds_the_power_as_its_schedule_goes_on(protocol: str) -> None:
    """7,360 W are drawn; 16 A of one phase are 3,680 W, and 5 A are too few for any car."""
    station = station_of(protocol, phases=1)
    station.start(1, "B", BEGIN)
    wire = profile(protocol, [(0, 16), (1800, 5), (3600, 32)])
    assert set_profile(station, 1, wire) == "Accepted"
    assert composite(station, 1, 7200, BEGIN) == [(0, 16), (1800, 5), (3600, 32)]
    told(station)
    station.pass_time(later(30))
    assert station.evses[1].state == "SuspendedEVSE"
    assert ("StatusNotification" in dict(told(station))) is True
    station.pass_time(later(60))
    assert station.evses[1].state == "Charging"
    session = station.stop(1, later(120))
    assert session is not None
    assert session.energy_wh == 1840 + 0 + 7360


@PROTOCOLS
def test_energy_is_the_same_whoever_looks_at_it(protocol: str) -> None:
    """The meter follows a schedule exactly, although nobody looked while it changed."""
    station = station_of(protocol)
    station.start(1, "B", BEGIN)
    set_profile(station, 1, profile(protocol, [(0, 16), (1800, 5), (3600, 32)]))
    session = station.stop(1, later(120))
    assert session is not None and session.energy_wh == 1840 + 7360


@PROTOCOLS
def test_the_highest_level_counts_and_the_transactions_own_before_the_default(
    protocol: str,
) -> None:
    station = station_of(protocol)
    session = station.start(1, "B", BEGIN)
    assert session is not None
    told(station)
    tx = session.transaction_id
    own = {"chargingProfilePurpose": "TxProfile"}
    own["transactionId"] = tx if protocol == OCPP201 else int(tx)  # type: ignore[assignment]
    set_profile(station, 0, profile(protocol, [(0, 8)], id=1, stackLevel=3))
    set_profile(station, 0, profile(protocol, [(0, 9)], id=2, stackLevel=4, duration=60))
    assert composite(station, 1, 120, BEGIN) == [(0, 9), (60, 8)]
    assert set_profile(station, 1, profile(protocol, [(0, 20)], id=3, **own)) == "Accepted"
    assert composite(station, 1, 120, BEGIN) == [(0, 20)]
    station.stop(1, later(1))
    assert [p.profile_id for p in station.profiles.profiles] == [1, 2]


@PROTOCOLS
def test_the_stations_maximum_is_shared_by_those_who_charge(protocol: str) -> None:
    purpose = "ChargingStationMaxProfile" if protocol == OCPP201 else "ChargePointMaxProfile"
    station = station_of(protocol)
    wire = profile(protocol, [(0, 20)], chargingProfilePurpose=purpose)
    assert set_profile(station, 1, wire) == "Rejected"
    assert set_profile(station, 0, wire) == "Accepted"
    station.start(1, "B", BEGIN)
    station.start(2, "C", later(60))
    drawn = [station.flowing_w(evse, later(60)) for evse in station.evses.values()]
    assert drawn == [2300, 2300]
    session = station.stop(1, later(120))
    assert session is not None and session.energy_wh == 4600 + 2300


@PROTOCOLS
def test_a_profile_says_nothing_before_and_after_its_validity(protocol: str) -> None:
    station = station_of(protocol)
    wire = profile(
        protocol, [(0, 10)], validFrom="2026-11-22T18:10:00Z", validTo="2026-11-22T18:20:00Z"
    )
    assert set_profile(station, 1, wire) == "Accepted"
    assert composite(station, 1, 1800, BEGIN) == [(0, 32), (600, 10), (1200, 32)]


def test_a_daily_profile_comes_again_and_a_relative_one_begins_with_the_session() -> None:
    station = station_of()
    daily = profile(
        OCPP16,
        [(0, 10)],
        chargingProfileKind="Recurring",
        recurrencyKind="Daily",
        startSchedule="2026-11-20T18:30:00Z",
        duration=600,
    )
    set_profile(station, 1, daily)
    assert composite(station, 1, 86_400 + 3600, BEGIN) == [
        (0, 32),
        (1800, 10),
        (2400, 32),
        (88_200, 10),
        (88_800, 32),
    ]
    relative = profile(OCPP16, [(0, 6), (600, 7)], id=2, chargingProfileKind="Relative")
    set_profile(station, 2, relative)
    station.start(2, "B", later(5))
    assert composite(station, 2, 1200, later(10)) == [(0, 6), (300, 7)]


@PROTOCOLS
def test_what_is_beyond_the_stations_means_is_refused(protocol: str) -> None:
    station = station_of(protocol, faults=Faults(refuse_purposes=("TxProfile",)))
    many = [(second, 10.0) for second in range(25)]
    assert set_profile(station, 1, profile(protocol, many)) == "Rejected"
    assert set_profile(station, 1, profile(protocol, [(0, 10)], stackLevel=11)) == "Rejected"
    assert set_profile(station, 1, profile(protocol, [(5, 10)])) == "Rejected"
    assert set_profile(station, 7, profile(protocol, [(0, 10)])) == "Rejected"
    word = "Rejected" if protocol == OCPP201 else "NotSupported"
    own = profile(protocol, [(0, 10)], chargingProfilePurpose="TxProfile")
    assert set_profile(station, 1, own) == word
    for number in range(10):
        wire = profile(protocol, [(0, 10)], id=number, stackLevel=number)
        assert set_profile(station, 1, wire) == "Accepted"
    assert set_profile(station, 1, profile(protocol, [(0, 10)], id=10, stackLevel=10)) == "Rejected"


@PROTOCOLS
def test_a_transactions_profile_needs_the_transaction(protocol: str) -> None:
    station = station_of(protocol)
    other = "nobody" if protocol == OCPP201 else 99
    own = {"chargingProfilePurpose": "TxProfile", "transactionId": other}
    assert set_profile(station, 1, profile(protocol, [(0, 10)], **own)) == "Rejected"
    station.start(1, "B", BEGIN)
    told(station)
    assert set_profile(station, 1, profile(protocol, [(0, 10)], **own)) == "Rejected"


def test_profiles_are_cleared_by_what_was_asked_for() -> None:
    station = station_of()
    for number in range(3):
        set_profile(station, number, profile(OCPP16, [(0, 10)], id=number, stackLevel=number))

    def clear(**criteria: Any) -> list[int]:
        order(station, "ClearChargingProfile", criteria)
        return [p.profile_id for p in station.profiles.profiles]

    assert clear(id=1) == [0, 2]
    assert order(station, "ClearChargingProfile", {"stackLevel": 1}) == {"status": "Unknown"}
    assert clear(connectorId=2, stackLevel=2) == [0]
    assert clear() == []


def test_profiles_of_201_are_reported_evse_by_evse() -> None:
    station = station_of(OCPP201)
    for evse_id in (0, 1, 2):
        wire = profile(OCPP201, [(0, 10)], id=evse_id + 1, stackLevel=evse_id)
        assert set_profile(station, evse_id, wire) == "Accepted"
    again = profile(OCPP201, [(0, 12)], id=9, stackLevel=1)
    assert set_profile(station, 1, again) == "Rejected"
    answer = order(station, "GetChargingProfiles", {"requestId": 5, "chargingProfile": {}})
    assert answer == {"status": "Accepted"}
    reports = [payload for action, payload in told(station)]
    assert [(r["evseId"], r["tbc"]) for r in reports] == [(0, True), (1, True), (2, False)]
    none = {"requestId": 6, "chargingProfile": {"chargingProfileId": [99]}}
    assert order(station, "GetChargingProfiles", none) == {"status": "NoProfiles"}


def test_a_station_may_accept_limits_and_ignore_them() -> None:
    station = station_of(faults=Faults(ignore_profiles=True))
    station.start(1, "B", BEGIN)
    assert set_profile(station, 1, profile(OCPP16, [(0, 0)])) == "Accepted"
    session = station.stop(1, later(60))
    assert session is not None and session.energy_wh == 7360
