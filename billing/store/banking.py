"""SQL of the bank's statements: their lines, and what each was taken for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import class_row

from csms.store.paging import Cursor


@dataclass(frozen=True, slots=True)
class LineRow:
    """A line of a statement of the bank's."""

    id: int
    account: str
    reference: str
    amount_cents: int
    booked_on: date
    kind: str
    end_to_end_id: str | None
    counterparty_name: str | None
    counterparty_iban: str | None
    remittance: str | None
    reason: str | None
    is_simulated: bool


@dataclass(frozen=True, slots=True)
class CandidateRow:
    """An invoice that a line may have paid."""

    invoice_id: int
    number: str
    client_id: int
    person_id: int | None  # None: the operator's invoice to the client
    is_own: bool  # the operator's: paid to its own account
    left_cents: int


async def insert_statement(
    connection: AsyncConnection, values: Mapping[str, Any]
) -> tuple[int, bytes, bool]:
    """A statement of the bank's: its id, its digest, and whether it is new; one that is there is
    left as it is."""
    cursor = await connection.execute(
        """
        INSERT INTO bank_statement (account, reference, opening_cents, closing_cents, closing_on,
                                    sha256, is_simulated, imported_at, imported_by)
        VALUES (%(account)s, %(reference)s, %(opening_cents)s, %(closing_cents)s, %(closing_on)s,
                %(sha256)s, %(is_simulated)s, %(now)s, %(actor)s)
        ON CONFLICT (account, reference) DO NOTHING RETURNING id
        """,
        values,
    )
    made = await cursor.fetchone()
    if made is not None:
        return int(made[0]), values["sha256"], True
    cursor = await connection.execute(
        "SELECT id, sha256 FROM bank_statement WHERE account = %(account)s "
        "AND reference = %(reference)s",
        values,
    )
    row = await cursor.fetchone()
    assert row is not None
    return int(row[0]), bytes(row[1]), False


async def insert_lines(
    connection: AsyncConnection, statement_id: int, account: str, rows: Sequence[tuple[Any, ...]]
) -> int:
    """Lines of a statement that no other statement told, in their order; how many. Rows are
    reference, amount_cents, booked_on, kind, end_to_end_id, counterparty_name, counterparty_iban,
    remittance, reason."""
    if not rows:
        return 0
    columns = [list(column) for column in zip(*rows, strict=True)]
    cursor = await connection.execute(
        """
        INSERT INTO bank_line (statement_id, account, reference, amount_cents, booked_on, kind,
                               end_to_end_id, counterparty_name, counterparty_iban, remittance,
                               reason)
        SELECT %s, %s, n.* FROM unnest(%s::text[], %s::bigint[], %s::date[], %s::text[], %s::text[],
                                       %s::text[], %s::text[], %s::text[], %s::text[]) AS n
        ON CONFLICT (account, reference) DO NOTHING
        """,
        (statement_id, account, *columns),
    )
    return cursor.rowcount


async def lock_account(connection: AsyncConnection) -> None:
    """One reads statements in at a time, to the end of the transaction."""
    await connection.execute("SELECT pg_advisory_xact_lock(12, 0)")


async def fetch_known(
    connection: AsyncConnection, account: str, references: Sequence[str]
) -> dict[str, tuple[int, date]]:
    """Of these lines of an account those that are there: cents and day, by reference."""
    cursor = await connection.execute(
        """
        SELECT reference, amount_cents, booked_on FROM bank_line
         WHERE account = %s AND reference = ANY (%s)
        """,
        (account, list(references)),
    )
    return {reference: (cents, day) for reference, cents, day in await cursor.fetchall()}


async def list_open(connection: AsyncConnection, *, limit: int) -> list[int]:
    """Lines that were taken for nothing yet, not even for unexplained, by id."""
    cursor = await connection.execute(
        """
        SELECT l.id FROM bank_line l
         WHERE NOT EXISTS (SELECT FROM bank_match m WHERE m.line_id = l.id)
         ORDER BY l.booked_on, l.id LIMIT %s
        """,
        (limit,),
    )
    return [row[0] for row in await cursor.fetchall()]


async def list_suspense(
    connection: AsyncConnection, *, limit: int, cursor: Cursor | None = None
) -> list[LineRow]:
    """Lines that nothing explains yet, in the order in which they were read."""
    async with connection.cursor(row_factory=class_row(LineRow)) as rows:
        await rows.execute(
            """
            SELECT l.id, l.account, l.reference, l.amount_cents, l.booked_on, l.kind,
                   l.end_to_end_id, l.counterparty_name, l.counterparty_iban, l.remittance,
                   l.reason, s.is_simulated
              FROM bank_line l JOIN bank_statement s ON s.id = l.statement_id
             WHERE EXISTS (SELECT FROM bank_match m WHERE m.line_id = l.id AND m.is_suspense)
               AND NOT EXISTS (SELECT FROM bank_match m
                                WHERE m.line_id = l.id AND NOT m.is_suspense)
               AND l.id > %s
             ORDER BY l.id LIMIT %s
            """,
            (cursor.key[0] if cursor else 0, limit),
        )
        return await rows.fetchall()


async def count_suspense(connection: AsyncConnection) -> int:
    """How many `list_suspense` has."""
    cursor = await connection.execute(
        """
        SELECT count(*) FROM bank_match s
         WHERE s.is_suspense AND NOT EXISTS (SELECT FROM bank_match m
                                              WHERE m.line_id = s.line_id AND NOT m.is_suspense)
        """
    )
    row = await cursor.fetchone()
    assert row is not None
    return int(row[0])


async def get_line(connection: AsyncConnection, line_id: int) -> LineRow | None:
    """A line, which nobody else matches to the end of the transaction."""
    await connection.execute("SELECT pg_advisory_xact_lock(11, %s)", (line_id,))
    async with connection.cursor(row_factory=class_row(LineRow)) as rows:
        await rows.execute(
            """
            SELECT l.id, l.account, l.reference, l.amount_cents, l.booked_on, l.kind,
                   l.end_to_end_id, l.counterparty_name, l.counterparty_iban, l.remittance,
                   l.reason, s.is_simulated
              FROM bank_line l JOIN bank_statement s ON s.id = l.statement_id
             WHERE l.id = %s
            """,
            (line_id,),
        )
        return await rows.fetchone()


async def fetch_matches(connection: AsyncConnection, line_id: int) -> dict[bool, str]:
    """What a line was taken for: by whether it is unexplained, the subject."""
    cursor = await connection.execute(
        "SELECT is_suspense, subject FROM bank_match WHERE line_id = %s", (line_id,)
    )
    return dict(await cursor.fetchall())


async def insert_match(
    connection: AsyncConnection, line_id: int, kind: str, subject: str, now: datetime, by: str
) -> None:
    """What a line is taken for."""
    await connection.execute(
        """
        INSERT INTO bank_match (line_id, is_suspense, kind, subject, matched_at, matched_by)
        VALUES (%s, %s, %s, %s, %s, %s)
        """,
        (line_id, kind == "suspense", kind, subject, now, by),
    )


async def find_invoices(connection: AsyncConnection, numbers: Sequence[str]) -> list[CandidateRow]:
    """Invoices of these numbers, with what is left to be paid of each."""
    async with connection.cursor(row_factory=class_row(CandidateRow)) as rows:
        await rows.execute(
            """
            SELECT invoice_id, number, client_id, person_id, is_own, open_cents AS left_cents
              FROM payable_invoice WHERE number = ANY (%s) ORDER BY invoice_id
            """,
            (list(numbers),),
        )
        return await rows.fetchall()


async def find_by_amount(
    connection: AsyncConnection, amount_cents: int, iban: str | None, limit: int
) -> list[CandidateRow]:
    """Open invoices of just that amount, those first whose driver's mandate is of that account."""
    async with connection.cursor(row_factory=class_row(CandidateRow)) as rows:
        await rows.execute(
            """
            SELECT i.invoice_id, i.number, i.client_id, i.person_id, false AS is_own,
                   i.open_cents AS left_cents
              FROM invoice d JOIN invoice_open i ON i.invoice_id = d.id
             WHERE d.amount_incl_cents = %(cents)s AND i.open_cents = %(cents)s
             ORDER BY EXISTS (SELECT FROM sepa_mandate m
                               WHERE m.person_id = i.person_id AND m.iban = %(iban)s) DESC,
                      i.invoice_id
             LIMIT %(limit)s
            """,
            {"cents": amount_cents, "iban": iban, "limit": limit},
        )
        return await rows.fetchall()


async def find_line_of(connection: AsyncConnection, subject: str) -> int | None:
    """The line that was taken for a subject; None: none was."""
    cursor = await connection.execute(
        "SELECT line_id FROM bank_match WHERE subject = %s AND NOT is_suspense", (subject,)
    )
    row = await cursor.fetchone()
    return None if row is None else int(row[0])


async def find_settlements(
    connection: AsyncConnection, references: Sequence[str], net_cents: int
) -> list[str]:
    """Payouts of payment providers of these references that are booked, brought so much to the
    bank, and that no line was taken for; by their keys."""
    cursor = await connection.execute(
        """
        SELECT substr(e.source_key, 12)
          FROM ledger_entry e
          JOIN ledger_posting p ON p.entry_id = e.id
          JOIN ledger_account a ON a.id = p.account_id AND a.code IN ('bank:mandate', 'bank:own')
         WHERE e.kind = 'settlement' AND split_part(e.source_key, ':', 3) = ANY (%s)
           AND NOT EXISTS (SELECT FROM bank_match m
                            WHERE m.subject = 'settlement ' || substr(e.source_key, 12))
         GROUP BY e.id HAVING sum(p.amount_cents) = %s ORDER BY e.id
        """,
        (list(references), net_cents),
    )
    return [row[0] for row in await cursor.fetchall()]


async def insert_own_receipt(connection: AsyncConnection, values: Mapping[str, Any]) -> int | None:
    """What a client paid of the operator's invoice; its id. None: the source key is there."""
    cursor = await connection.execute(
        """
        INSERT INTO own_receipt (client_id, invoice_id, source_key, amount_cents, received_on,
                                 means, created_at, created_by)
        VALUES (%(client_id)s, %(invoice_id)s, %(source_key)s, %(amount_cents)s, %(received_on)s,
                %(means)s, %(now)s, %(actor)s)
        ON CONFLICT (source_key) DO NOTHING RETURNING id
        """,
        values,
    )
    row = await cursor.fetchone()
    return None if row is None else int(row[0])


async def fetch_closing(connection: AsyncConnection, account: str) -> tuple[date, int] | None:
    """Day and cents of the newest closing balance that the bank told of an account."""
    cursor = await connection.execute(
        """
        SELECT closing_on, closing_cents FROM bank_statement WHERE account = %s
         ORDER BY closing_on DESC, id DESC LIMIT 1
        """,
        (account,),
    )
    return await cursor.fetchone()


async def fetch_booked_on(connection: AsyncConnection, source_key: str) -> date:
    """The day of an entry that is in the books."""
    cursor = await connection.execute(
        "SELECT booked_on FROM ledger_entry WHERE source_key = %s", (source_key,)
    )
    row = await cursor.fetchone()
    assert row is not None, source_key
    day: date = row[0]
    return day
