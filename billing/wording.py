"""What the law wants on invoices and at which rate, by date: entered by people, never rewritten.

A text or a rate holds from a day on; what held until then and had no end ends there. Codes of the
texts: pmt_, pmd_ and aab_ with professional or consumer, franchise, non_assujetti, mandate.
"""

from datetime import date, datetime
from decimal import Decimal

import psycopg
from psycopg import AsyncConnection

from billing.store import wording as store
from billing.store.wording import Mention, VatRate
from csms.clients import Actor
from csms.registry import Conflict, Refusal
from csms.store import audit


async def add_mention(
    connection: AsyncConnection,
    *,
    code: str,
    language: str,
    from_on: date,
    to_on: date | None,
    text: str,
    source: str,
    actor: Actor,
    now: datetime,
) -> Mention:
    """A text from a day on. Raises: Conflict where another holds on some of the days; Refusal."""
    if to_on is not None and to_on <= from_on:
        raise Refusal("A period ends after it has begun.", "to_on")
    if not await store.is_known(connection, code):
        raise Refusal(f"No document has a mention {code}.", "code")
    mention = Mention(code, language, from_on, to_on, text, source)
    await store.end_mention(connection, code, language, from_on)
    try:
        async with connection.transaction():
            await store.insert_mention(connection, mention)
    except (psycopg.errors.ExclusionViolation, psycopg.errors.UniqueViolation):
        raise Conflict(f"A text {code} holds on some day from {from_on} on.", "from_on") from None
    await audit.add_entry(
        connection,
        now,
        actor=actor.name,
        person_id=actor.person_id,
        action="mention.added",
        subject=f"{code} {language} {from_on}",
    )
    return mention


async def add_vat_rate(
    connection: AsyncConnection,
    *,
    from_on: date,
    percent: Decimal,
    source: str,
    actor: Actor,
    now: datetime,
) -> VatRate:
    """The normal rate from a day on. Raises: Conflict where a later one is known."""
    rate = VatRate(from_on, None, percent, source)
    await store.end_vat_rate(connection, from_on)
    try:
        async with connection.transaction():
            await store.insert_vat_rate(connection, rate)
    except (psycopg.errors.ExclusionViolation, psycopg.errors.UniqueViolation):
        raise Conflict(f"A rate holds on some day from {from_on} on.", "from_on") from None
    await audit.add_entry(
        connection,
        now,
        actor=actor.name,
        person_id=actor.person_id,
        action="vat_rate.added",
        subject=f"{percent} % from {from_on}",
    )
    return rate
