"""SQL of contracts: their dates, suspensions, letters, terms and options."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import class_row


@dataclass(frozen=True, slots=True)
class ContractRow:
    """A contract with what decides its dates."""

    id: int
    client_id: int
    client: str  # its name
    client_class: str
    devis_reference: str
    signed_on: date | None
    starts_on: date
    term_months: int
    notice_by: str | None
    notice_on: date | None
    ends_on: date | None
    mandate_from_on: date | None
    mandate_revoked_on: date | None
    created_at: datetime
    closed_at: datetime | None
    suspensions: list[dict[str, Any]]  # id, received_on, reason, from_on, until_on; days as text
    letters_on: list[date]


@dataclass(frozen=True, slots=True)
class TermsRow:
    """What was agreed of money, from a day on until another, which is not included."""

    id: int
    contract_id: int
    from_on: date
    to_on: date | None
    commission_rate: Decimal
    monthly_management_fee_cents: int
    yearly_subscription_cents: int
    monthly_telemetering_cents: int
    energy_price_eur_per_kwh: Decimal | None
    invoicing: str  # of drivers: per_use | per_driver_month


@dataclass(frozen=True, slots=True)
class OptionRow:
    """An option subscribed, from a day on until another, which is not included."""

    id: int
    contract_id: int
    option: str
    from_on: date
    to_on: date | None


async def fetch_contracts(
    connection: AsyncConnection,
    *,
    client_id: int | None = None,
    contract_id: int | None = None,
    not_closed: bool = False,
) -> list[ContractRow]:
    """Contracts of a client, one of them, or all, by client and start."""
    async with connection.cursor(row_factory=class_row(ContractRow)) as rows:
        await rows.execute(
            """
            SELECT c.id, c.client_id, k.name AS client, c.client_class, c.devis_reference,
                   c.signed_on, c.starts_on, c.term_months, c.notice_by, c.notice_on, c.ends_on,
                   c.mandate_from_on, c.mandate_revoked_on, c.created_at, c.closed_at,
                   coalesce((SELECT json_agg(json_build_object('id', s.id,
                                    'received_on', s.received_on, 'reason', s.reason,
                                    'from_on', s.from_on, 'until_on', s.until_on)
                                    ORDER BY s.from_on, s.id)
                               FROM contract_suspension s WHERE s.contract_id = c.id), '[]')
                   AS suspensions,
                   ARRAY(SELECT l.sent_on FROM contract_letter l
                          WHERE l.contract_id = c.id ORDER BY l.sent_on) AS letters_on
              FROM contract c JOIN client k ON k.id = c.client_id
             WHERE (%(client_id)s::bigint IS NULL OR c.client_id = %(client_id)s)
               AND (%(contract_id)s::bigint IS NULL OR c.id = %(contract_id)s)
               AND (NOT %(not_closed)s OR c.closed_at IS NULL)
             ORDER BY c.client_id, c.starts_on, c.id
            """,
            {"client_id": client_id, "contract_id": contract_id, "not_closed": not_closed},
            prepare=False,
        )
        return await rows.fetchall()


async def fetch_client_of(connection: AsyncConnection, contract_id: int) -> int | None:
    """The client of a contract; None: there is no such contract."""
    cursor = await connection.execute(
        "SELECT client_id FROM contract WHERE id = %s", (contract_id,)
    )
    row = await cursor.fetchone()
    return None if row is None else row[0]


async def insert_contract(
    connection: AsyncConnection,
    client_id: int,
    *,
    client_class: str,
    devis_reference: str,
    signed_on: date | None,
    starts_on: date,
    term_months: int,
    mandate_from_on: date | None,
) -> int | None:
    """A new contract; None when the Devis is another's.

    Raises: psycopg.errors.ExclusionViolation where a signed one overlaps another.
    """
    cursor = await connection.execute(
        """
        INSERT INTO contract (client_id, client_class, devis_reference, signed_on, starts_on,
                              term_months, mandate_from_on)
        VALUES (%s, %s, %s, %s, %s, %s, %s)
        ON CONFLICT (devis_reference) DO NOTHING RETURNING id
        """,
        (
            client_id,
            client_class,
            devis_reference,
            signed_on,
            starts_on,
            term_months,
            mandate_from_on,
        ),
    )
    row = await cursor.fetchone()
    return None if row is None else row[0]


async def update_contract(connection: AsyncConnection, contract: ContractRow) -> bool:
    """Write what people decide of a contract, whole; False when the Devis is another's.

    Raises: psycopg.errors.ExclusionViolation where a signed one overlaps another.
    """
    cursor = await connection.execute(
        """
        UPDATE contract
           SET devis_reference = %(devis_reference)s, signed_on = %(signed_on)s,
               starts_on = %(starts_on)s, term_months = %(term_months)s,
               notice_by = %(notice_by)s, notice_on = %(notice_on)s, ends_on = %(ends_on)s,
               mandate_from_on = %(mandate_from_on)s,
               mandate_revoked_on = %(mandate_revoked_on)s, closed_at = %(closed_at)s
         WHERE id = %(id)s
           AND NOT EXISTS (SELECT FROM contract o
                            WHERE o.devis_reference = %(devis_reference)s AND o.id <> %(id)s)
        """,
        {
            "id": contract.id,
            "devis_reference": contract.devis_reference,
            "signed_on": contract.signed_on,
            "starts_on": contract.starts_on,
            "term_months": contract.term_months,
            "notice_by": contract.notice_by,
            "notice_on": contract.notice_on,
            "ends_on": contract.ends_on,
            "mandate_from_on": contract.mandate_from_on,
            "mandate_revoked_on": contract.mandate_revoked_on,
            "closed_at": contract.closed_at,
        },
    )
    return cursor.rowcount == 1


async def insert_suspension(
    connection: AsyncConnection,
    contract: ContractRow,
    *,
    received_on: date,
    reason: str,
    from_on: date,
) -> None:
    """A suspension until further notice."""
    await connection.execute(
        """
        INSERT INTO contract_suspension (client_id, contract_id, received_on, reason, from_on)
        VALUES (%s, %s, %s, %s, %s)
        """,
        (contract.client_id, contract.id, received_on, reason, from_on),
    )


async def end_suspension(connection: AsyncConnection, contract_id: int, on: date) -> bool:
    """End the suspension that has no end; one that would begin later never takes effect."""
    cursor = await connection.execute(
        """
        UPDATE contract_suspension SET until_on = greatest(%s, from_on)
         WHERE contract_id = %s AND until_on IS NULL
        """,
        (on, contract_id),
    )
    return cursor.rowcount == 1


async def insert_letter(connection: AsyncConnection, contract: ContractRow, sent_on: date) -> bool:
    """Note that the client was told; False when it was noted before."""
    cursor = await connection.execute(
        """
        INSERT INTO contract_letter (contract_id, client_id, sent_on) VALUES (%s, %s, %s)
        ON CONFLICT DO NOTHING
        """,
        (contract.id, contract.client_id, sent_on),
    )
    return cursor.rowcount == 1


async def list_terms(connection: AsyncConnection, contract_id: int) -> list[TermsRow]:
    """Everything that was agreed, oldest first."""
    async with connection.cursor(row_factory=class_row(TermsRow)) as rows:
        await rows.execute(
            """
            SELECT id, contract_id, from_on, to_on, commission_rate, monthly_management_fee_cents,
                   yearly_subscription_cents, monthly_telemetering_cents, energy_price_eur_per_kwh,
                   invoicing
              FROM contract_terms WHERE contract_id = %s ORDER BY from_on
            """,
            (contract_id,),
        )
        return await rows.fetchall()


async def end_terms(connection: AsyncConnection, contract_id: int, on: date) -> None:
    """End what held before the day and had no end."""
    await connection.execute(
        """
        UPDATE contract_terms SET to_on = %(on)s
         WHERE contract_id = %(contract_id)s AND from_on < %(on)s AND to_on IS NULL
        """,
        {"contract_id": contract_id, "on": on},
    )


async def insert_terms(
    connection: AsyncConnection,
    contract: ContractRow,
    *,
    from_on: date,
    to_on: date | None,
    commission_rate: Decimal,
    monthly_management_fee_cents: int,
    yearly_subscription_cents: int,
    monthly_telemetering_cents: int,
    energy_price_eur_per_kwh: Decimal | None,
    invoicing: str,
) -> TermsRow:
    """New terms. Raises: psycopg.errors.ExclusionViolation where they overlap others."""
    async with connection.cursor(row_factory=class_row(TermsRow)) as rows:
        await rows.execute(
            """
            INSERT INTO contract_terms (
                client_id, contract_id, from_on, to_on, commission_rate,
                monthly_management_fee_cents, yearly_subscription_cents,
                monthly_telemetering_cents, energy_price_eur_per_kwh, invoicing)
            VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
            RETURNING id, contract_id, from_on, to_on, commission_rate,
                      monthly_management_fee_cents, yearly_subscription_cents,
                      monthly_telemetering_cents, energy_price_eur_per_kwh, invoicing
            """,
            (
                contract.client_id,
                contract.id,
                from_on,
                to_on,
                commission_rate,
                monthly_management_fee_cents,
                yearly_subscription_cents,
                monthly_telemetering_cents,
                energy_price_eur_per_kwh,
                invoicing,
            ),
        )
        row = await rows.fetchone()
    assert row is not None
    return row


async def list_options(connection: AsyncConnection, contract_id: int) -> list[OptionRow]:
    """Every subscription of the contract, by option and day."""
    async with connection.cursor(row_factory=class_row(OptionRow)) as rows:
        await rows.execute(
            """
            SELECT id, contract_id, option, from_on, to_on FROM contract_option
             WHERE contract_id = %s ORDER BY option, from_on
            """,
            (contract_id,),
        )
        return await rows.fetchall()


async def insert_options(
    connection: AsyncConnection,
    contract: ContractRow,
    options: Sequence[str],
    from_on: date,
    to_on: date | None,
) -> None:
    """Subscribe to options. Raises: psycopg.errors.ExclusionViolation for one that is subscribed
    on some of the days."""
    await connection.execute(
        """
        INSERT INTO contract_option (client_id, contract_id, option, from_on, to_on)
        SELECT %s, %s, option, %s, %s FROM unnest(%s::text[]) AS option
        """,
        (contract.client_id, contract.id, from_on, to_on, list(options)),
    )


async def end_option(connection: AsyncConnection, contract_id: int, option: str, on: date) -> bool:
    """End the subscription that runs on the day or begins later; False when there is none."""
    cursor = await connection.execute(
        """
        UPDATE contract_option SET to_on = greatest(%(on)s, from_on)
         WHERE contract_id = %(contract_id)s AND option = %(option)s
           AND (to_on IS NULL OR to_on > %(on)s)
        """,
        {"contract_id": contract_id, "option": option, "on": on},
    )
    return cursor.rowcount > 0
