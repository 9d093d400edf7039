"""What is agreed within a contract: terms of money, options, and the letters before its renewal.

As csms.contracts: in the caller's transaction, the client's row held, every act in the audit.
"""

from datetime import date, datetime
from decimal import Decimal
from typing import Any

import psycopg
from psycopg import AsyncConnection

from csms import contracts, deadlines
from csms.clients import Actor
from csms.registry import AlreadyThere, Conflict, NotThere, Refusal
from csms.store import contracts as store
from csms.store.contracts import TermsRow


async def add_terms(
    connection: AsyncConnection,
    contract_id: int,
    *,
    from_on: date,
    to_on: date | None,
    commission_rate: Decimal,
    monthly_management_fee_cents: int,
    yearly_subscription_cents: int,
    monthly_telemetering_cents: int,
    energy_price_eur_per_kwh: Decimal | None,
    invoicing: str = "per_driver_month",
    actor: Actor,
    now: datetime,
) -> TermsRow:
    """What the Devis says of money, from a day on; what held until then and had no end ends there.
    `invoicing` of drivers: per_use, or per_driver_month.

    Raises: NotThere; Conflict where later terms are known already; Refusal.
    """
    contract = await contracts.locked(connection, contract_id)
    _check_period(from_on, to_on)
    amounts: dict[str, Any] = {
        "commission_rate": commission_rate,
        "monthly_management_fee_cents": monthly_management_fee_cents,
        "yearly_subscription_cents": yearly_subscription_cents,
        "monthly_telemetering_cents": monthly_telemetering_cents,
        "energy_price_eur_per_kwh": energy_price_eur_per_kwh,
        "invoicing": invoicing,
    }
    await store.end_terms(connection, contract_id, from_on)
    try:
        async with connection.transaction():
            made = await store.insert_terms(
                connection, contract, from_on=from_on, to_on=to_on, **amounts
            )
    except psycopg.errors.ExclusionViolation:
        raise Conflict(
            f"Other terms hold on some day from {from_on} on: later ones cannot be rewritten.",
            "from_on",
        ) from None
    content = {"from_on": from_on, "to_on": to_on, **amounts}
    await contracts.note(connection, contract, actor, now, "terms.added", content)
    return made


async def subscribe(
    connection: AsyncConnection,
    contract_id: int,
    option: str,
    from_on: date,
    to_on: date | None,
    actor: Actor,
    now: datetime,
) -> None:
    """Subscribe to an option. Raises: NotThere; Conflict when it is subscribed; Refusal."""
    contract = await contracts.locked(connection, contract_id)
    code = contracts.option_code(option)
    _check_period(from_on, to_on)
    try:
        async with connection.transaction():
            await store.insert_options(connection, contract, [code], from_on, to_on)
    except psycopg.errors.ExclusionViolation:
        raise Conflict(f"Option {code} is subscribed on some of these days already.") from None
    content = {"option": code, "from_on": from_on, "to_on": to_on}
    await contracts.note(connection, contract, actor, now, "option.subscribed", content)


async def unsubscribe(
    connection: AsyncConnection,
    contract_id: int,
    option: str,
    on: date,
    actor: Actor,
    now: datetime,
) -> None:
    """End an option's subscription: the day is the first one without it. Raises: NotThere."""
    contract = await contracts.locked(connection, contract_id)
    code = contracts.option_code(option)
    if not await store.end_option(connection, contract_id, code, on):
        raise NotThere(f"Option {code} is not subscribed from {on} on.")
    await contracts.note(
        connection, contract, actor, now, "option.ended", {"option": code, "on": on}
    )


async def note_letter(
    connection: AsyncConnection, contract_id: int, sent_on: date, actor: Actor, now: datetime
) -> None:
    """Note the day on which the client was told of his right to refuse the renewal (L.215-1).

    Raises: NotThere; Refusal for a day to come; AlreadyThere.
    """
    contract = await contracts.locked(connection, contract_id)
    contracts.check_past(sent_on, deadlines.paris_day(now), "sent_on")
    if not await store.insert_letter(connection, contract, sent_on):
        raise AlreadyThere(f"The letter of {sent_on} was noted before.", "sent_on")
    await contracts.note(connection, contract, actor, now, "letter.sent", {"sent_on": sent_on})


def _check_period(from_on: date, to_on: date | None) -> None:
    if to_on is not None and to_on <= from_on:
        raise Refusal("A period ends after it has begun.", "to_on")
