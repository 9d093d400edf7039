"""What a partner is told that a session used and cost: the CDR of a priced session.

Pure. A CDR says exactly what was priced: energy to the watt-hour, time to the second, each amount
to the cent. It is made once and never changed; a correction is another document. What a minimum
price adds stands with the fixed costs; what a maximum takes off lessens the total alone, as the
specification has it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Final

from billing.tariff import Dimension, Line
from reporting.ocpi.kinds import AuthMethod
from reporting.ocpi.objects import Cdr, CdrDimension, CdrLocation, CdrToken, ChargingPeriod, Price

CURRENCY: Final = "EUR"
_WH_PER_KWH: Final = 1_000
_S_PER_HOUR: Final = 3_600
_HOUR_DIGITS: Final = Decimal("0.0001")  # as numbers are: 0.36 s, from which the second comes back


@dataclass(frozen=True, slots=True)
class Party:
    """Who speaks: our country and party, as AFIREV and the hub know them."""

    country_code: str
    party_id: str


@dataclass(frozen=True, slots=True)
class Priced:
    """A session as it was priced. `lines` are its price's parts, in order."""

    session_id: str
    started_at: datetime
    ended_at: datetime
    energy_wh: int
    lines: Sequence[Line]
    tariff_id: str | None
    token: CdrToken
    auth_method: AuthMethod
    authorization_reference: str | None
    invoice_number: str | None = None


def cdr(
    party: Party, priced: Priced, where: CdrLocation, *, cdr_id: str, last_updated: datetime
) -> Cdr:
    """The CDR of a session, under an id of its own (39 characters at most)."""
    parking_s = sum(line.duration_s for line in _of(priced, Dimension.PARKING_TIME))
    return Cdr(
        country_code=party.country_code,
        party_id=party.party_id,
        id=cdr_id,
        start_date_time=priced.started_at,
        end_date_time=priced.ended_at,
        session_id=priced.session_id,
        cdr_token=priced.token,
        auth_method=priced.auth_method,
        authorization_reference=priced.authorization_reference,
        cdr_location=where,
        currency=CURRENCY,
        charging_periods=periods(priced),
        total_cost=_price(priced.lines),
        total_fixed_cost=_part(priced, Dimension.FLAT, Dimension.MIN_PRICE),
        total_energy=kwh(priced.energy_wh),
        total_energy_cost=_part(priced, Dimension.ENERGY),
        total_time=hours(duration_s(priced)),
        total_time_cost=_part(priced, Dimension.TIME),
        total_parking_time=standing_hours(priced, parking_s) if parking_s else None,
        total_parking_cost=_part(priced, Dimension.PARKING_TIME),
        invoice_reference_id=priced.invoice_number,
        last_updated=last_updated,
    )


def periods(priced: Priced) -> list[ChargingPeriod]:
    """What was used when: charging from the start, then standing from when it began, where that is
    priced. Their energy and hours sum to the session's."""
    parking = [line for line in _of(priced, Dimension.PARKING_TIME) if line.duration_s]
    parking_s = min(sum(line.duration_s for line in parking), duration_s(priced))
    charging_s = duration_s(priced) - parking_s
    found = [
        ChargingPeriod(
            start_date_time=priced.started_at,
            dimensions=[
                CdrDimension(type="ENERGY", volume=kwh(priced.energy_wh)),
                CdrDimension(type="TIME", volume=hours(charging_s)),
            ],
            tariff_id=priced.tariff_id,
        )
    ]
    if parking_s:
        found.append(
            ChargingPeriod(
                start_date_time=max(priced.started_at, min(line.from_at for line in parking)),
                dimensions=[
                    CdrDimension(type="PARKING_TIME", volume=standing_hours(priced, parking_s))
                ],
                tariff_id=priced.tariff_id,
            )
        )
    return found


def duration_s(priced: Priced) -> int:
    """Whole seconds from start to end."""
    return round((priced.ended_at - priced.started_at).total_seconds())


def kwh(energy_wh: int) -> Decimal:
    """Exact."""
    return Decimal(energy_wh) / _WH_PER_KWH


def hours(seconds: int) -> Decimal:
    """To four decimals, from which the second comes back."""
    return (Decimal(seconds) / _S_PER_HOUR).quantize(_HOUR_DIGITS, ROUND_HALF_UP)


def standing_hours(priced: Priced, parking_s: int) -> Decimal:
    """What charging leaves of the whole, so that both together are it to the last digit."""
    whole_s = duration_s(priced)
    return hours(whole_s) - hours(max(whole_s - parking_s, 0))


def _of(priced: Priced, dimension: Dimension) -> list[Line]:
    return [line for line in priced.lines if line.dimension is dimension]


def _part(priced: Priced, *dimensions: Dimension) -> Price | None:
    """What these dimensions cost; None: nothing of them is priced."""
    lines = [line for line in priced.lines if line.dimension in dimensions]
    return _price(lines) if lines else None


def _price(lines: Sequence[Line]) -> Price:
    return Price(
        excl_vat=_euros(sum(line.amount_excl_cents for line in lines)),
        incl_vat=_euros(sum(line.amount_incl_cents for line in lines)),
    )


def _euros(cents: int) -> Decimal:
    return Decimal(cents).scaleb(-2)
