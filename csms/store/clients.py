"""SQL of clients as parties to contracts: identity, contacts, VAT, payout accounts."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

from psycopg import AsyncConnection
from psycopg.rows import class_row, scalar_row

from csms.store.paging import Cursor


@dataclass(frozen=True, slots=True)
class ClientRecord:
    """A client, all of its row."""

    id: int
    name: str
    is_operator: bool
    client_class: str | None
    legal_name: str | None
    siren: str | None
    street: str | None
    postal_code: str | None
    city: str | None
    country: str | None
    regulatory_basis: str | None
    closed_at: datetime | None


@dataclass(frozen=True, slots=True)
class Contact:
    """Whom to write to, and about what."""

    id: int
    client_id: int
    name: str
    email: str | None
    phone: str | None
    purposes: list[str]
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Vat:
    """How a client stands to VAT from a day on until another, which is not included."""

    id: int
    client_id: int
    status: str
    vat_number: str | None
    from_on: date
    to_on: date | None


@dataclass(frozen=True, slots=True)
class Iban:
    """An account for payouts. It counts when approved is true and replaced_at is None."""

    id: int
    client_id: int
    iban: str
    holder: str
    entered_by: str  # actor, as the audit names it
    entered_at: datetime
    decided_by: str | None
    decided_at: datetime | None
    approved: bool | None
    replaced_at: datetime | None


async def list_clients(
    connection: AsyncConnection, *, limit: int, cursor: Cursor | None
) -> list[ClientRecord]:
    """Up to `limit` clients by id."""
    async with connection.cursor(row_factory=class_row(ClientRecord)) as rows:
        await rows.execute(
            """
            SELECT id, name, is_operator, class AS client_class, legal_name, siren, street,
                   postal_code, city, country, regulatory_basis, closed_at
              FROM client WHERE id > %(after)s::bigint ORDER BY id LIMIT %(limit)s
            """,
            {"limit": limit, "after": cursor.key[0] if cursor else 0},
            prepare=False,
        )
        return await rows.fetchall()


async def get_client(connection: AsyncConnection, client_id: int) -> ClientRecord | None:
    """One client."""
    async with connection.cursor(row_factory=class_row(ClientRecord)) as rows:
        await rows.execute(
            """
            SELECT id, name, is_operator, class AS client_class, legal_name, siren, street,
                   postal_code, city, country, regulatory_basis, closed_at
              FROM client WHERE id = %s
            """,
            (client_id,),
        )
        return await rows.fetchone()


async def lock_client(connection: AsyncConnection, client_id: int) -> ClientRecord | None:
    """One client, which nobody else changes until the caller's transaction is over: what hangs on
    it is changed by one at a time."""
    async with connection.cursor(row_factory=class_row(ClientRecord)) as rows:
        await rows.execute(
            """
            SELECT id, name, is_operator, class AS client_class, legal_name, siren, street,
                   postal_code, city, country, regulatory_basis, closed_at
              FROM client WHERE id = %s FOR NO KEY UPDATE
            """,
            (client_id,),
        )
        return await rows.fetchone()


async def write_client(connection: AsyncConnection, client: ClientRecord) -> bool:
    """Write what people decide of a client; False when its name is another's."""
    cursor = await connection.execute(
        """
        UPDATE client
           SET name = %(name)s, class = %(class)s, legal_name = %(legal_name)s, siren = %(siren)s,
               street = %(street)s, postal_code = %(postal_code)s, city = %(city)s,
               country = %(country)s, regulatory_basis = %(regulatory_basis)s
         WHERE id = %(id)s
           AND NOT EXISTS (SELECT FROM client o WHERE o.name = %(name)s AND o.id <> %(id)s)
        """,
        {
            "id": client.id,
            "name": client.name,
            "class": client.client_class,
            "legal_name": client.legal_name,
            "siren": client.siren,
            "street": client.street,
            "postal_code": client.postal_code,
            "city": client.city,
            "country": client.country,
            "regulatory_basis": client.regulatory_basis,
        },
    )
    return cursor.rowcount == 1


async def set_closed(connection: AsyncConnection, client_id: int, at: datetime | None) -> None:
    """Note when the client's last contract was settled; None: it has one again."""
    await connection.execute("UPDATE client SET closed_at = %s WHERE id = %s", (at, client_id))


# --- Contacts -----------------------------------------------------------------------------------


async def list_contacts(connection: AsyncConnection, client_id: int) -> list[Contact]:
    """The client's contacts that were not removed, oldest first."""
    async with connection.cursor(row_factory=class_row(Contact)) as rows:
        await rows.execute(
            """
            SELECT id, client_id, name, email, phone, purposes, created_at FROM client_contact
             WHERE client_id = %s AND removed_at IS NULL ORDER BY id
            """,
            (client_id,),
        )
        return await rows.fetchall()


async def insert_contact(
    connection: AsyncConnection,
    client_id: int,
    *,
    name: str,
    email: str | None,
    phone: str | None,
    purposes: Sequence[str],
) -> Contact:
    """A new contact."""
    async with connection.cursor(row_factory=class_row(Contact)) as rows:
        await rows.execute(
            """
            INSERT INTO client_contact (client_id, name, email, phone, purposes)
            VALUES (%s, %s, %s, %s, %s)
            RETURNING id, client_id, name, email, phone, purposes, created_at
            """,
            (client_id, name, email, phone, list(purposes)),
        )
        row = await rows.fetchone()
    assert row is not None
    return row


async def remove_contact(
    connection: AsyncConnection, client_id: int, contact_id: int, now: datetime
) -> bool:
    """Take a contact away; False when the client has no such contact."""
    cursor = await connection.execute(
        """
        UPDATE client_contact SET removed_at = %s
         WHERE client_id = %s AND id = %s AND removed_at IS NULL
        """,
        (now, client_id, contact_id),
    )
    return cursor.rowcount == 1


# --- VAT ----------------------------------------------------------------------------------------


async def list_vat(connection: AsyncConnection, client_id: int) -> list[Vat]:
    """How the client stood and stands to VAT, oldest first."""
    async with connection.cursor(row_factory=class_row(Vat)) as rows:
        await rows.execute(
            """
            SELECT id, client_id, status, vat_number, from_on, to_on FROM client_vat
             WHERE client_id = %s ORDER BY from_on
            """,
            (client_id,),
        )
        return await rows.fetchall()


async def end_vat(connection: AsyncConnection, client_id: int, on: date) -> None:
    """End what held before the day and had no end."""
    await connection.execute(
        """
        UPDATE client_vat SET to_on = %(on)s
         WHERE client_id = %(client_id)s AND from_on < %(on)s AND to_on IS NULL
        """,
        {"client_id": client_id, "on": on},
    )


async def insert_vat(
    connection: AsyncConnection,
    client_id: int,
    *,
    status: str,
    vat_number: str | None,
    from_on: date,
    to_on: date | None,
) -> Vat:
    """A new period. Raises: psycopg.errors.ExclusionViolation where it overlaps another."""
    async with connection.cursor(row_factory=class_row(Vat)) as rows:
        await rows.execute(
            """
            INSERT INTO client_vat (client_id, status, vat_number, from_on, to_on)
            VALUES (%s, %s, %s, %s, %s)
            RETURNING id, client_id, status, vat_number, from_on, to_on
            """,
            (client_id, status, vat_number, from_on, to_on),
        )
        row = await rows.fetchone()
    assert row is not None
    return row


# --- Accounts -----------------------------------------------------------------------------------


async def list_ibans(connection: AsyncConnection, client_id: int) -> list[Iban]:
    """All accounts ever entered for the client, newest first."""
    async with connection.cursor(row_factory=class_row(Iban)) as rows:
        await rows.execute(
            """
            SELECT id, client_id, iban, holder, entered_by, entered_at,
                   decided_by, decided_at, approved, replaced_at
              FROM client_iban WHERE client_id = %s ORDER BY id DESC
            """,
            (client_id,),
        )
        return await rows.fetchall()


async def fetch_current_iban(connection: AsyncConnection, client_id: int) -> Iban | None:
    """The one account that counts; None: payouts have nowhere to go."""
    async with connection.cursor(row_factory=class_row(Iban)) as rows:
        await rows.execute(
            """
            SELECT id, client_id, iban, holder, entered_by, entered_at,
                   decided_by, decided_at, approved, replaced_at
              FROM client_iban WHERE client_id = %s AND approved AND replaced_at IS NULL
            """,
            (client_id,),
        )
        return await rows.fetchone()


async def insert_iban(
    connection: AsyncConnection,
    client_id: int,
    *,
    iban: str,
    holder: str,
    by: str,
    now: datetime,
) -> Iban:
    """An account that waits for its approval."""
    async with connection.cursor(row_factory=class_row(Iban)) as rows:
        await rows.execute(
            """
            INSERT INTO client_iban (client_id, iban, holder, entered_by, entered_at)
            VALUES (%s, %s, %s, %s, %s)
            RETURNING id, client_id, iban, holder, entered_by, entered_at,
                      decided_by, decided_at, approved, replaced_at
            """,
            (client_id, iban, holder, by, now),
        )
        row = await rows.fetchone()
    assert row is not None
    return row


async def replace_iban(connection: AsyncConnection, client_id: int, now: datetime) -> None:
    """The account that counted until now counts no more."""
    await connection.execute(
        """
        UPDATE client_iban SET replaced_at = %s
         WHERE client_id = %s AND approved AND replaced_at IS NULL
        """,
        (now, client_id),
    )


async def decide_iban(
    connection: AsyncConnection,
    iban_id: int,
    *,
    approved: bool,
    by: str,
    now: datetime,
) -> None:
    """Approve or refuse an account. Raises: psycopg.errors.CheckViolation for the same person."""
    await connection.execute(
        """
        UPDATE client_iban
           SET approved = %(approved)s, decided_by = %(by)s,
               decided_at = %(now)s
         WHERE id = %(id)s AND approved IS NULL
        """,
        {"id": iban_id, "approved": approved, "by": by, "now": now},
    )


async def has_open_contract(connection: AsyncConnection, client_id: int) -> bool:
    """Whether a contract of the client is not settled yet."""
    async with connection.cursor(row_factory=scalar_row) as rows:
        await rows.execute(
            """
            SELECT EXISTS (SELECT FROM contract WHERE client_id = %s AND closed_at IS NULL)
            """,
            (client_id,),
        )
        return bool(await rows.fetchone())
