"""A CDR says what was priced: the watt-hour, the second, the cent."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from billing.money import vat_in
from billing.tariff import Dimension, Line
from reporting.ocpi import cdrs
from reporting.ocpi.cdrs import Party, Priced, cdr
from reporting.ocpi.objects import Cdr, CdrLocation, CdrToken, Coordinates

START = datetime(2026, 11, 26, 8, 0, 0, tzinfo=UTC)
OURS = Party("FR", "ABC")
TOKEN = CdrToken(
    country_code="DE", party_id="TNM", uid="04A1B2C3", type="RFID", contract_id="DE8ACC12E46L89"
)
WHERE = CdrLocation(
    id="site-1",
    address="2 rue de l’Exemple",
    city="Nîmes",
    postal_code="30000",
    country="FRA",
    coordinates=Coordinates(latitude="43.836699", longitude="4.360054"),
    evse_uid="FRABCE1",
    evse_id="FR*ABC*E1",
    connector_id="1",
    connector_standard="IEC_62196_T2",
    connector_format="SOCKET",
    connector_power_type="AC_3_PHASE",
)


def line(dimension: Dimension, cents: int, **values: Any) -> Line:
    vat = vat_in(cents, Decimal(20))
    given = {
        "quantity": 1,
        "energy_wh": 0,
        "duration_s": 0,
        "from_at": START,
        "to_at": START,
        "unit_price_eur": Decimal(1),
        "vat_percent": Decimal(20),
        "estimated": False,
    }
    return Line(
        dimension=dimension,
        amount_excl_cents=cents - vat,
        amount_incl_cents=cents,
        **(given | values),
    )


def priced(seconds: int, energy_wh: int, *lines: Line) -> Priced:
    return Priced(
        session_id="101",
        started_at=START,
        ended_at=START + timedelta(seconds=seconds),
        energy_wh=energy_wh,
        lines=lines,
        tariff_id="base-1",
        token=TOKEN,
        auth_method="AUTH_REQUEST",
        authorization_reference="REF-1",
    )


def made(session: Priced) -> Cdr:
    return cdr(OURS, session, WHERE, cdr_id="C-101", last_updated=START)


def test_a_session_with_energy_standing_and_a_fee() -> None:
    """22.5 kWh for 7.88, 40 minutes of standing for 2.00 after two hours, 1.00 to begin."""
    session = priced(
        9_600,
        22_500,
        line(Dimension.FLAT, 100),
        line(Dimension.ENERGY, 788, energy_wh=22_500),
        line(
            Dimension.PARKING_TIME, 200, duration_s=2_400, from_at=START + timedelta(seconds=7_200)
        ),
    )
    told = made(session).wire()
    assert told["total_cost"] == {"excl_vat": 9.07, "incl_vat": 10.88}
    assert told["total_fixed_cost"]["incl_vat"] == 1
    assert told["total_energy_cost"]["incl_vat"] == 7.88
    assert told["total_parking_cost"]["incl_vat"] == 2
    assert "total_time_cost" not in told
    assert (told["total_energy"], told["total_time"]) == (22.5, 2.6667)
    assert told["charging_periods"] == [
        {
            "start_date_time": "2026-11-26T08:00:00Z",
            "dimensions": [{"type": "ENERGY", "volume": 22.5}, {"type": "TIME", "volume": 2}],
            "tariff_id": "base-1",
        },
        {
            "start_date_time": "2026-11-26T10:00:00Z",
            "dimensions": [{"type": "PARKING_TIME", "volume": 0.6667}],
            "tariff_id": "base-1",
        },
    ]
    assert Cdr.model_validate(told).wire() == told


@given(
    st.integers(0, 400_000),
    st.integers(0, 10**6),
    st.lists(
        st.tuples(st.sampled_from(Dimension), st.integers(0, 10**6), st.integers(0, 100_000)),
        max_size=8,
    ),
)
def test_energy_time_and_price_are_those_of_the_priced_session(
    seconds: int, energy_wh: int, parts: list[tuple[Dimension, int, int]]
) -> None:
    lines = [
        line(dimension, -cents if dimension is Dimension.MAX_PRICE else cents, duration_s=s)
        for dimension, cents, s in parts
    ]
    session = priced(seconds, energy_wh, *lines)
    told = made(session)
    assert told.total_energy * 1_000 == energy_wh
    assert round(told.total_time * 3_600) == seconds
    assert told.total_cost.incl_vat == Decimal(sum(each.amount_incl_cents for each in lines)) / 100
    assert told.total_cost.excl_vat == Decimal(sum(each.amount_excl_cents for each in lines)) / 100
    costs = [
        told.total_fixed_cost,
        told.total_energy_cost,
        told.total_time_cost,
        told.total_parking_cost,
    ]
    taken_off = sum(x.amount_incl_cents for x in lines if x.dimension is Dimension.MAX_PRICE)
    parts_cost = sum(each.incl_vat or 0 for each in costs if each)
    assert parts_cost + Decimal(taken_off) / 100 == told.total_cost.incl_vat
    used = {"ENERGY": Decimal(0), "TIME": Decimal(0), "PARKING_TIME": Decimal(0)}
    for period in told.charging_periods:
        for dimension in period.dimensions:
            used[dimension.type] += dimension.volume
    assert used["ENERGY"] == told.total_energy
    assert round((used["TIME"] + used["PARKING_TIME"]) * 3_600) == seconds
    starts = [period.start_date_time for period in told.charging_periods]
    assert starts == sorted(starts) and starts[0] == START


@given(st.integers(0, 10**7))
def test_the_second_comes_back_from_hours(seconds: int) -> None:
    assert round(cdrs.hours(seconds) * 3_600) == seconds
