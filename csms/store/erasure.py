"""SQL of accounts that end, of what is left of them, and of the restricted archive."""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import class_row, scalar_row
from psycopg.types.json import Jsonb

from csms.store.paging import Cursor, fetch_count


@dataclass(frozen=True, slots=True)
class Account:
    """What ends with a person's account."""

    id: int
    email: str | None
    given_name: str
    family_name: str
    language: str
    operator_roles: list[str]
    closed_at: datetime | None
    erased_at: datetime | None


@dataclass(frozen=True, slots=True)
class Archived:
    """A person as the restricted archive holds her."""

    person_id: int
    identity: dict[str, Any]
    archived_at: datetime
    kept_until: date


async def lock_account(connection: AsyncConnection, person_id: int) -> Account | None:
    """A person whom nobody else changes before the transaction ends."""
    async with connection.cursor(row_factory=class_row(Account)) as rows:
        await rows.execute(
            """
            SELECT id, email, given_name, family_name, language, operator_roles, closed_at,
                   erased_at
              FROM person WHERE id = %s FOR UPDATE
            """,
            (person_id,),
        )
        return await rows.fetchone()


async def close_person(connection: AsyncConnection, person_id: int, now: datetime) -> None:
    """The account is over: no log-in, no role."""
    await connection.execute(
        """
        UPDATE person SET closed_at = %(now)s, operator_roles = '{}', updated_at = %(now)s
         WHERE id = %(id)s
        """,
        {"id": person_id, "now": now},
    )


async def end_managing(connection: AsyncConnection, person_id: int, now: datetime) -> None:
    """She manages no client any more."""
    await connection.execute(
        """
        UPDATE client_manager SET to_at = greatest(%(now)s, from_at + interval '1 microsecond')
         WHERE person_id = %(id)s
           AND (to_at IS NULL OR to_at > greatest(%(now)s, from_at + interval '1 microsecond'))
        """,
        {"id": person_id, "now": now},
    )


async def end_payment_means(connection: AsyncConnection, person_id: int, now: datetime) -> None:
    """Nothing is paid by her means any more."""
    await connection.execute(
        """
        UPDATE payment_means SET to_at = greatest(%(now)s, from_at + interval '1 microsecond')
         WHERE person_id = %(id)s
           AND (to_at IS NULL OR to_at > greatest(%(now)s, from_at + interval '1 microsecond'))
        """,
        {"id": person_id, "now": now},
    )


async def cancel_badge_orders(connection: AsyncConnection, person_id: int, now: datetime) -> None:
    """No badge is sent to her any more."""
    await connection.execute(
        """
        UPDATE badge_order SET cancelled_at = %s
         WHERE person_id = %s AND cancelled_at IS NULL AND activated_at IS NULL
        """,
        (now, person_id),
    )


async def list_open_reservations(connection: AsyncConnection, person_id: int) -> list[int]:
    """Her reservations that are not over."""
    async with connection.cursor(row_factory=scalar_row) as rows:
        await rows.execute(
            """
            SELECT id FROM reservation
             WHERE person_id = %s AND state IN ('requested', 'placed', 'confirmed') ORDER BY id
            """,
            (person_id,),
        )
        return await rows.fetchall()


async def cancel_watches(connection: AsyncConnection, person_id: int, now: datetime) -> None:
    """She is told of no free point any more."""
    await connection.execute(
        """
        UPDATE point_watch SET cancelled_at = %s
         WHERE person_id = %s AND cancelled_at IS NULL AND fulfilled_at IS NULL
        """,
        (now, person_id),
    )


async def is_charging(connection: AsyncConnection, person_id: int) -> bool:
    """Whether a session of her badges is under way."""
    return bool(
        await fetch_count(
            connection,
            """
            SELECT count(*) FROM driver_badge b
              JOIN session s ON lower(s.token_uid) = b.uid_key AND s.started_at >= b.from_at
                   AND (b.to_at IS NULL OR s.started_at < b.to_at)
             WHERE b.person_id = %(id)s AND s.state = 'active'
            """,
            {"id": person_id},
        )
    )


async def last_session_at(connection: AsyncConnection, person_id: int) -> datetime | None:
    """When the last session of her badges ended; None: there is none."""
    async with connection.cursor(row_factory=scalar_row) as rows:
        await rows.execute(
            """
            SELECT max(coalesce(s.ended_at, s.started_at)) FROM driver_badge b
              JOIN session s ON lower(s.token_uid) = b.uid_key AND s.started_at >= b.from_at
                   AND (b.to_at IS NULL OR s.started_at < b.to_at)
             WHERE b.person_id = %s
            """,
            (person_id,),
        )
        found: datetime | None = await rows.fetchone()
        return found


async def billing_identity(connection: AsyncConnection, person_id: int) -> dict[str, Any] | None:
    """To whom what she charged is invoiced, and by which means it was paid; None: no driver."""
    async with connection.cursor(row_factory=scalar_row) as rows:
        await rows.execute(
            """
            SELECT jsonb_build_object(
                       'given_name', p.given_name, 'family_name', p.family_name,
                       'billing_name', d.billing_name, 'company', d.company, 'siren', d.siren,
                       'vat_number', d.vat_number, 'street', d.street,
                       'postal_code', d.postal_code, 'city', d.city, 'country', d.country,
                       'payment_means', (
                           SELECT coalesce(jsonb_agg(jsonb_build_object(
                                      'kind', m.kind, 'reference', m.reference,
                                      'from_at', m.from_at, 'to_at', m.to_at) ORDER BY m.id), '[]')
                             FROM payment_means m WHERE m.person_id = d.person_id))
              FROM driver d JOIN person p ON p.id = d.person_id WHERE d.person_id = %s
            """,
            (person_id,),
        )
        found: dict[str, Any] | None = await rows.fetchone()
        return found


async def archive_person(
    connection: AsyncConnection,
    person_id: int,
    identity: dict[str, Any],
    now: datetime,
    kept_until: date,
) -> None:
    """Put a person's billing identity into the restricted archive."""
    await connection.execute(
        """
        INSERT INTO archived_person (person_id, identity, archived_at, kept_until)
        VALUES (%s, %s, %s, %s)
        """,
        (person_id, Jsonb(identity), now, kept_until),
    )


async def erase_person(connection: AsyncConnection, person_id: int, now: datetime) -> None:
    """Nothing personal is left in the person's own row."""
    await connection.execute(
        """
        UPDATE person
           SET email = NULL, given_name = '', family_name = '', phone = NULL, password_hash = NULL,
               password_changed_at = NULL, email_verified_at = NULL, totp_secret = NULL,
               totp_confirmed_at = NULL, totp_last_step = 0, recovery_sha256 = '{}',
               operator_roles = '{}', updated_at = %(now)s, erased_at = %(now)s
         WHERE id = %(id)s
        """,
        {"id": person_id, "now": now},
    )


async def erase_driver(connection: AsyncConnection, person_id: int, now: datetime) -> None:
    """Nor in the driver's."""
    await connection.execute(
        """
        UPDATE driver
           SET billing_name = '', company = NULL, siren = NULL, vat_number = NULL, street = '',
               postal_code = '', city = '', country = 'FR', updated_at = %(now)s
         WHERE person_id = %(id)s
        """,
        {"id": person_id, "now": now},
    )


async def erase_payment_means(connection: AsyncConnection, person_id: int) -> None:
    """Nor in how she paid."""
    await connection.execute(
        "UPDATE payment_means SET reference = 'erased', label = '' WHERE person_id = %s",
        (person_id,),
    )


async def erase_badge_labels(connection: AsyncConnection, person_id: int) -> None:
    """Nor in what she called her badges."""
    await connection.execute(
        "UPDATE driver_badge SET label = '' WHERE person_id = %s AND label <> ''", (person_id,)
    )


async def delete_person_log_ins(connection: AsyncConnection, person_id: int) -> None:
    """No log-in of hers is on record."""
    await connection.execute("DELETE FROM login_session WHERE person_id = %s", (person_id,))


async def delete_person_links(connection: AsyncConnection, person_id: int) -> None:
    """Nor any link."""
    await connection.execute("DELETE FROM one_time_link WHERE person_id = %s", (person_id,))


async def erase_request_texts(connection: AsyncConnection, person_id: int) -> None:
    """Nor what she wrote in her requests, and was written to her; that she made them, and when they
    were answered, stays as proof. What is not answered yet has its answer to come."""
    await connection.execute(
        """
        UPDATE data_request
           SET requester = '', message = '', outcome = '',
               extension_reason = CASE WHEN extended_at IS NOT NULL THEN '' END
         WHERE person_id = %s
        """,
        (person_id,),
    )


async def open_archive(
    connection: AsyncConnection,
    *,
    reader: str,
    reader_person: int | None,
    reason: str,
    address: str | None,
    person_id: int | None,
    badge: str | None,
) -> list[Archived]:
    """Whom the archive holds of a person's number or of a badge; the look is written down."""
    async with connection.cursor(row_factory=class_row(Archived)) as rows:
        await rows.execute(
            """
            SELECT person_id, identity, archived_at, kept_until
              FROM open_archive(%(reader)s, %(reader_person)s, %(reason)s, %(address)s,
                                %(person_id)s, %(badge)s)
            """,
            {
                "reader": reader,
                "reader_person": reader_person,
                "reason": reason,
                "address": address,
                "person_id": person_id,
                "badge": badge,
            },
        )
        return await rows.fetchall()


@dataclass(frozen=True, slots=True)
class ArchivedSession:
    """A session of a person who is in the archive."""

    person_id: int
    id: int
    station_id: str
    site_id: str | None
    token_uid: str | None
    state: str
    started_at: datetime
    ended_at: datetime | None
    energy_wh: int | None


async def list_archived_sessions(
    connection: AsyncConnection,
    persons: list[int],
    *,
    from_at: datetime | None,
    to_at: datetime | None,
    limit: int,
    cursor: Cursor | None,
) -> list[ArchivedSession]:
    """Up to `limit` sessions of the badges of these persons, newest first."""
    async with connection.cursor(row_factory=class_row(ArchivedSession)) as rows:
        await rows.execute(
            """
            SELECT b.person_id, s.id, t.id AS station_id, s.site_id, s.token_uid, s.state,
                   s.started_at, s.ended_at, s.energy_wh
              FROM driver_badge b
              JOIN session s ON lower(s.token_uid) = b.uid_key AND s.started_at >= b.from_at
                   AND (b.to_at IS NULL OR s.started_at < b.to_at)
              JOIN station t USING (station_key)
             WHERE b.person_id = ANY (%(persons)s)
               AND (%(from_at)s::timestamptz IS NULL OR s.started_at >= %(from_at)s)
               AND (%(to_at)s::timestamptz IS NULL OR s.started_at < %(to_at)s)
               AND (%(at)s::timestamptz IS NULL OR (s.started_at, s.id) < (%(at)s, %(id)s))
             ORDER BY s.started_at DESC, s.id DESC LIMIT %(limit)s
            """,
            {
                "persons": persons,
                "from_at": from_at,
                "to_at": to_at,
                "at": cursor.key[0] if cursor else None,
                "id": cursor.key[1] if cursor else None,
                "limit": limit,
            },
            prepare=False,
        )
        return await rows.fetchall()


async def count_archived_sessions(
    connection: AsyncConnection,
    persons: list[int],
    *,
    from_at: datetime | None,
    to_at: datetime | None,
) -> int:
    """How many there are."""
    return await fetch_count(
        connection,
        """
        SELECT count(*) FROM driver_badge b
          JOIN session s ON lower(s.token_uid) = b.uid_key AND s.started_at >= b.from_at
               AND (b.to_at IS NULL OR s.started_at < b.to_at)
         WHERE b.person_id = ANY (%(persons)s)
           AND (%(from_at)s::timestamptz IS NULL OR s.started_at >= %(from_at)s)
           AND (%(to_at)s::timestamptz IS NULL OR s.started_at < %(to_at)s)
        """,
        {"persons": persons, "from_at": from_at, "to_at": to_at},
    )
