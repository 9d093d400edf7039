"""SQL of payment files: what goes to the bank, and with it the transfer between the operator's
accounts."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import class_row

from billing.ledger import COVERING
from csms.store.paging import Cursor


@dataclass(frozen=True, slots=True)
class FileRow:
    """A payment file, its bytes apart."""

    id: int
    kind: str
    account: str
    message_id: str
    execution_on: date
    payments: int
    total_cents: int
    sha256: bytes
    is_simulated: bool
    created_at: datetime
    created_by: str
    approved_at: datetime | None
    approved_by: str | None
    sent_at: datetime | None
    cancelled_at: datetime | None


@dataclass(frozen=True, slots=True)
class TransferRow:
    """A transfer between the operator's accounts."""

    id: int
    file_id: int
    earned_cents: int
    covered_cents: int
    amount_cents: int
    end_to_end_id: str
    status: str


async def insert_file(connection: AsyncConnection, values: Mapping[str, Any]) -> int:
    """A payment file; its id. `values` are its columns by name."""
    cursor = await connection.execute(
        """
        INSERT INTO payment_file (kind, account, message_id, execution_on, payments, total_cents,
                                  content, sha256, is_simulated, created_at, created_by)
        VALUES (%(kind)s, %(account)s, %(message_id)s, %(execution_on)s, %(payments)s,
                %(total_cents)s, %(content)s, sha256(%(content)s), %(is_simulated)s, %(now)s,
                %(actor)s)
        RETURNING id
        """,
        values,
    )
    row = await cursor.fetchone()
    assert row is not None
    return int(row[0])


async def count_files(connection: AsyncConnection, prefix: str) -> int:
    """How many files have a name that begins so."""
    cursor = await connection.execute(
        "SELECT count(*) FROM payment_file WHERE starts_with(message_id, %s)", (prefix,)
    )
    row = await cursor.fetchone()
    assert row is not None
    return int(row[0])


async def lock_files(connection: AsyncConnection) -> None:
    """One makes files at a time, to the end of the transaction."""
    await connection.execute("SELECT pg_advisory_xact_lock(10, 0)")


async def list_contested_since(connection: AsyncConnection, file_id: int) -> list[str]:
    """Clients whose payout of a file pays a statement of which something was contested after the
    payout was made, and is not decided."""
    cursor = await connection.execute(
        """
        SELECT DISTINCT c.name
          FROM payout p
          JOIN payout_line l ON l.payout_id = p.id AND l.statement_id IS NOT NULL
          JOIN client c ON c.id = p.client_id
          JOIN dispute d ON d.client_id = p.client_id AND d.decided_at IS NULL
               AND d.opened_at > p.created_at
         WHERE p.file_id = %s AND p.status = 'draft'
           AND EXISTS (SELECT FROM statement_line s
                        WHERE s.statement_id = l.statement_id
                          AND s.kind IN ('session', 'late_session')
                          AND (s.id = d.statement_line_id OR s.invoice_id = d.invoice_id))
         ORDER BY c.name
        """,
        (file_id,),
    )
    return [row[0] for row in await cursor.fetchall()]


async def get_file(connection: AsyncConnection, file_id: int) -> FileRow | None:
    """A payment file, held to the end of the transaction."""
    async with connection.cursor(row_factory=class_row(FileRow)) as rows:
        await rows.execute(
            """
            SELECT id, kind, account, message_id, execution_on, payments, total_cents, sha256,
                   is_simulated, created_at, created_by, approved_at, approved_by, sent_at,
                   cancelled_at
              FROM payment_file WHERE id = %s FOR UPDATE
            """,
            (file_id,),
        )
        return await rows.fetchone()


async def list_files(
    connection: AsyncConnection,
    *,
    is_open: bool | None,
    limit: int,
    cursor: Cursor | None = None,
) -> list[FileRow]:
    """Payment files, the last made first; is_open: those that wait for a person, or (False) that do
    not."""
    async with connection.cursor(row_factory=class_row(FileRow)) as rows:
        await rows.execute(
            """
            SELECT id, kind, account, message_id, execution_on, payments, total_cents, sha256,
                   is_simulated, created_at, created_by, approved_at, approved_by, sent_at,
                   cancelled_at
              FROM payment_file
             WHERE (%(is_open)s::boolean IS NULL
                    OR (sent_at IS NULL AND cancelled_at IS NULL) = %(is_open)s)
               AND (%(before_id)s::bigint IS NULL OR id < %(before_id)s)
             ORDER BY id DESC LIMIT %(limit)s
            """,
            {"is_open": is_open, "before_id": cursor.key[0] if cursor else None, "limit": limit},
        )
        return await rows.fetchall()


async def count_all(connection: AsyncConnection, *, is_open: bool | None) -> int:
    """How many `list_files` has."""
    cursor = await connection.execute(
        """
        SELECT count(*) FROM payment_file
         WHERE %(is_open)s::boolean IS NULL
            OR (sent_at IS NULL AND cancelled_at IS NULL) = %(is_open)s
        """,
        {"is_open": is_open},
    )
    row = await cursor.fetchone()
    assert row is not None
    return int(row[0])


async def fetch_content(connection: AsyncConnection, file_id: int) -> bytes:
    """The bytes of a file."""
    cursor = await connection.execute("SELECT content FROM payment_file WHERE id = %s", (file_id,))
    row = await cursor.fetchone()
    assert row is not None
    return bytes(row[0])


async def find_content(connection: AsyncConnection, message_id: str) -> bytes | None:
    """The bytes of the file of that name; None: there is none."""
    cursor = await connection.execute(
        "SELECT content FROM payment_file WHERE message_id = %s", (message_id,)
    )
    row = await cursor.fetchone()
    return None if row is None else bytes(row[0])


async def approve_file(connection: AsyncConnection, file_id: int, by: str, now: datetime) -> None:
    """A second person approved it."""
    await connection.execute(
        "UPDATE payment_file SET approved_by = %s, approved_at = %s WHERE id = %s",
        (by, now, file_id),
    )


async def note_sent(connection: AsyncConnection, file_id: int, now: datetime) -> None:
    """It was handed out for the bank."""
    await connection.execute("UPDATE payment_file SET sent_at = %s WHERE id = %s", (now, file_id))


async def cancel_file(connection: AsyncConnection, file_id: int, now: datetime) -> None:
    """It will not be handed out."""
    await connection.execute(
        "UPDATE payment_file SET cancelled_at = %s WHERE id = %s", (now, file_id)
    )


async def fetch_earned(connection: AsyncConnection) -> tuple[int, int, int]:
    """What of the account of third parties is the operator's own, what of that it laid there in
    the books and has not moved, and what the account holds in the books; in cents.

    Lines that nothing explains, and internal transfers that are on their way, are taken off.
    """
    cursor = await connection.execute(
        """
        WITH booked AS (
            SELECT a.code, p.amount_cents, e.kind, r.kind AS undone
              FROM ledger_posting p
              JOIN ledger_account a ON a.id = p.account_id
              JOIN ledger_entry e ON e.id = p.entry_id
              LEFT JOIN ledger_entry r ON r.id = e.reverses_id),
        sums AS (
            SELECT coalesce(sum(amount_cents) FILTER (
                       WHERE code IN ('bank:mandate', 'psp:clearing') OR code ~ '^(owed|wallet):'),
                       0) AS own,
                   coalesce(sum(amount_cents) FILTER (
                       WHERE code = 'bank:mandate' AND 'suspense' IN (kind, undone)), 0)
                       AS unexplained,
                   coalesce(-sum(amount_cents) FILTER (
                       WHERE code = 'bank:own' AND coalesce(undone, kind) = ANY (%s)), 0) AS laid,
                   coalesce(sum(amount_cents) FILTER (WHERE code = 'bank:mandate'), 0) AS mandate
              FROM booked),
        moved AS (
            SELECT coalesce(sum(covered_cents) FILTER (
                       WHERE status IN ('draft', 'sent', 'settled')), 0) AS covered,
                   coalesce(sum(earned_cents) FILTER (WHERE status IN ('draft', 'sent')), 0)
                       AS on_the_way
              FROM internal_transfer),
        brought AS (
            SELECT coalesce(sum(l.amount_cents), 0) AS cents
              FROM bank_match m JOIN bank_line l ON l.id = m.line_id
             WHERE m.kind = 'top_up' AND l.account = 'mandate')
        SELECT (own - unexplained - on_the_way)::bigint, (laid - covered - cents)::bigint,
               mandate::bigint
          FROM sums, moved, brought
        """,
        (list(COVERING),),
    )
    row = await cursor.fetchone()
    assert row is not None
    return int(row[0]), int(row[1]), int(row[2])


async def insert_transfer(
    connection: AsyncConnection,
    file_id: int,
    earned_cents: int,
    covered_cents: int,
    end_to_end_id: str,
) -> None:
    """A transfer between the operator's accounts, in a file of payouts."""
    await connection.execute(
        """
        INSERT INTO internal_transfer (file_id, earned_cents, covered_cents, amount_cents,
                                       end_to_end_id, status)
        VALUES (%s, %s, %s, %s, %s, 'draft')
        """,
        (file_id, earned_cents, covered_cents, earned_cents - covered_cents, end_to_end_id),
    )


async def find_transfer(
    connection: AsyncConnection, *, file_id: int | None = None, end_to_end_id: str | None = None
) -> TransferRow | None:
    """The internal transfer of a file, or of a reference, held to the end of the transaction."""
    async with connection.cursor(row_factory=class_row(TransferRow)) as rows:
        await rows.execute(
            """
            SELECT id, file_id, earned_cents, covered_cents, amount_cents, end_to_end_id, status
              FROM internal_transfer WHERE file_id = %s OR end_to_end_id = %s FOR UPDATE
            """,
            (file_id, end_to_end_id),
        )
        return await rows.fetchone()


async def set_transfer_status(connection: AsyncConnection, transfer_id: int, status: str) -> None:
    """The state that an internal transfer is in now."""
    await connection.execute(
        "UPDATE internal_transfer SET status = %s WHERE id = %s", (status, transfer_id)
    )


async def send_debits(connection: AsyncConnection, file_id: int) -> None:
    """The debits of a file are on their way."""
    await connection.execute(
        "UPDATE direct_debit SET status = 'sent' WHERE file_id = %s AND status = 'notified'",
        (file_id,),
    )


async def release_debits(connection: AsyncConnection, file_id: int) -> None:
    """The debits of a file that was given up wait for another."""
    await connection.execute(
        """
        UPDATE direct_debit SET file_id = NULL, sequence = NULL
         WHERE file_id = %s AND status = 'notified'
        """,
        (file_id,),
    )
