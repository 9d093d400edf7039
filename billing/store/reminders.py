"""SQL of unpaid invoices: what is due, what was written about it, who is blocked for it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

from psycopg import AsyncConnection
from psycopg.rows import class_row

from billing.reminding import Claim, Letter
from csms.store.paging import Cursor


@dataclass(frozen=True, slots=True)
class ClaimRow:
    """An invoice past its day with something left to be paid, or one that blocks its driver."""

    invoice_id: int
    number: str
    client_id: int
    client: str
    person_id: int | None  # None: the operator's invoice to the client
    is_own: bool  # the operator's, to the client or a co-owner: paid to its own account
    due_on: date
    due_since_on: date  # due anew: money or a provision came back, a dispute was decided
    left_cents: int
    is_contested: bool
    is_debited: bool
    #: (level, sent_on, takes_effect_on) since then
    letters: list[tuple[int, str, str | None]]
    notice_id: int | None  # of the notice since then
    told_on: date | None  # when a mail server took that notice for her, in Paris
    told_at: datetime | None
    is_undelivered: bool  # the notice was given up: it reached nobody
    block_id: int | None  # open, of this driver at this client, whatever for
    is_blocked: bool  # for this invoice
    is_waived: bool

    def claim(self) -> Claim:
        """The invoice as billing.reminding judges it."""
        return Claim(
            due_on=self.due_since_on,
            left_cents=self.left_cents,
            is_contested=self.is_contested,
            is_debited=self.is_debited,
            letters=[
                Letter(level, date.fromisoformat(on), date.fromisoformat(to) if to else None)
                for level, on, to in self.letters
            ],
            told_on=self.told_on,
            is_blocked=self.is_blocked,
            is_waived=self.is_waived,
            blocks=not self.is_own,
        )


async def list_claims(
    connection: AsyncConnection, today: date, invoice_id: int | None = None
) -> list[ClaimRow]:
    """What is past its day and not paid, the oldest invoices first; with `invoice_id` that one
    only. Of the operator's own invoices those that no statement deducts."""
    async with connection.cursor(row_factory=class_row(ClaimRow)) as rows:
        await rows.execute(
            """
            SELECT p.invoice_id, p.number, p.client_id, c.name AS client, p.person_id, p.is_own,
                   p.due_on,
                   s.due_since_on, p.open_cents AS left_cents, w.is_contested, w.is_debited,
                   ARRAY(SELECT json_build_array(r.level, r.sent_on, r.takes_effect_on)
                           FROM reminder r
                          WHERE r.invoice_id = p.invoice_id AND r.due_since_on = s.due_since_on
                          ORDER BY r.sent_on) AS letters,
                   n.id AS notice_id, (t.told_at AT TIME ZONE 'Europe/Paris')::date AS told_on,
                   t.told_at, coalesce(t.is_undelivered, false) AS is_undelivered,
                   b.id AS block_id,
                   EXISTS (SELECT FROM payment_block_cause x
                            WHERE x.block_id = b.id AND x.notice_id = n.id) AS is_blocked,
                   EXISTS (SELECT FROM payment_block_cause x
                            JOIN payment_block l ON l.id = x.block_id
                            WHERE x.notice_id = n.id AND l.lifted_by IS NOT NULL) AS is_waived
              FROM payable_invoice p JOIN client c ON c.id = p.client_id
             CROSS JOIN LATERAL (
                   SELECT coalesce(bool_or(is_contested), false) AS is_contested,
                          coalesce(bool_or(is_debited), false) AS is_debited
                     FROM paused_invoice WHERE invoice_id = p.invoice_id) w
             CROSS JOIN LATERAL (
                   SELECT greatest(p.due_on,
                       (SELECT max(created_at AT TIME ZONE 'Europe/Paris')::date FROM receipt_share
                         WHERE invoice_id = p.invoice_id AND amount_cents < 0
                           AND correction_id IS NULL),
                       (SELECT max(received_on) FROM own_receipt
                         WHERE invoice_id = p.invoice_id AND amount_cents < 0),
                       (SELECT max(created_at AT TIME ZONE 'Europe/Paris')::date
                          FROM supply_provision
                         WHERE invoice_id = p.invoice_id AND kind = 'used' AND amount_cents > 0),
                       (SELECT max(d.decided_at AT TIME ZONE 'Europe/Paris')::date
                          FROM dispute d LEFT JOIN statement_line l ON l.id = d.statement_line_id
                         WHERE coalesce(d.invoice_id, l.invoice_id) = p.invoice_id))
                          AS due_since_on) s
              LEFT JOIN reminder n ON n.invoice_id = p.invoice_id AND n.level = 0
               AND n.due_since_on = s.due_since_on
             CROSS JOIN LATERAL (
                   SELECT min(d.finished_at) FILTER (WHERE d.status = 'sent') AS told_at,
                          bool_and(d.status IN ('dead', 'dropped')) AS is_undelivered
                     FROM notification k JOIN notification_delivery d ON d.notification_id = k.id
                    WHERE k.key = 'reminder ' || n.id AND d.channel = 'email') t
              LEFT JOIN payment_block b ON b.person_id = p.person_id AND b.client_id = p.client_id
               AND b.until_at IS NULL
             WHERE p.open_cents > 0 AND p.due_on < %(today)s
               AND (%(invoice_id)s::bigint IS NULL OR p.invoice_id = %(invoice_id)s)
               AND (p.person_id IS NOT NULL OR NOT EXISTS (
                    SELECT FROM invoice_line l JOIN own_sale o ON o.id = l.own_sale_id
                     WHERE l.invoice_id = p.invoice_id
                       AND o.kind IN ('commission', 'management_fee')))
             ORDER BY p.invoice_id
            """,
            {"today": today, "invoice_id": invoice_id},
            prepare=False,
        )
        return await rows.fetchall()


async def insert_letter(
    connection: AsyncConnection,
    row: ClaimRow,
    level: int,
    takes_effect_on: date | None,
    today: date,
    now: datetime,
) -> int | None:
    """A reminder, or (level 0) a notice; its id. None: it was sent, or another one today."""
    cursor = await connection.execute(
        """
        INSERT INTO reminder (client_id, invoice_id, person_id, due_since_on, level, amount_cents,
                              sent_on, sent_at, takes_effect_on)
        VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)
        ON CONFLICT DO NOTHING RETURNING id
        """,
        (
            row.client_id,
            row.invoice_id,
            row.person_id,
            row.due_since_on,
            level,
            row.left_cents,
            today,
            now,
            takes_effect_on,
        ),
    )
    made = await cursor.fetchone()
    return None if made is None else int(made[0])


async def insert_block(
    connection: AsyncConnection, row: ClaimRow, min_cents: int, by: str, now: datetime
) -> int:
    """A block of the invoice's driver at its client; its id."""
    cursor = await connection.execute(
        """
        INSERT INTO payment_block (client_id, person_id, min_cents, from_at, by)
        VALUES (%s, %s, %s, %s, %s) RETURNING id
        """,
        (row.client_id, row.person_id, min_cents, now, by),
    )
    made = await cursor.fetchone()
    assert made is not None
    return int(made[0])


async def insert_cause(
    connection: AsyncConnection, block_id: int, row: ClaimRow, now: datetime
) -> None:
    """An invoice that a block is for, by its notice."""
    await connection.execute(
        """
        INSERT INTO payment_block_cause (block_id, client_id, notice_id, invoice_id, amount_cents,
                                         told_at, added_at)
        VALUES (%s, %s, %s, %s, %s, %s, %s)
        """,
        (
            block_id,
            row.client_id,
            row.notice_id,
            row.invoice_id,
            row.left_cents,
            row.told_at,
            now,
        ),
    )


@dataclass(frozen=True, slots=True)
class Lifted:
    """A block that has ended."""

    id: int
    client_id: int
    client: str
    person_id: int


async def lift_groundless(
    connection: AsyncConnection, now: datetime, person_ids: Sequence[int] | None
) -> list[Lifted]:
    """End the blocks, of these drivers or (None) of all, whose every cause is paid, contested or
    being debited."""
    async with connection.cursor(row_factory=class_row(Lifted)) as rows:
        await rows.execute(
            """
            UPDATE payment_block b SET until_at = greatest(%(now)s, b.from_at)
              FROM client c
             WHERE c.id = b.client_id AND b.until_at IS NULL
               AND (%(persons)s::bigint[] IS NULL OR b.person_id = ANY (%(persons)s))
               AND NOT EXISTS (SELECT FROM standing_block s WHERE s.block_id = b.id)
            RETURNING b.id, b.client_id, c.name AS client, b.person_id
            """,
            {"now": now, "persons": None if person_ids is None else list(person_ids)},
        )
        return await rows.fetchall()


async def count_groundless(connection: AsyncConnection) -> int:
    """How many blocks `lift_groundless` would end."""
    cursor = await connection.execute(
        """
        SELECT count(*) FROM payment_block b
         WHERE b.until_at IS NULL
           AND NOT EXISTS (SELECT FROM standing_block s WHERE s.block_id = b.id)
        """
    )
    row = await cursor.fetchone()
    assert row is not None
    return int(row[0])


async def lift(
    connection: AsyncConnection, block_id: int, by: str, reason: str, now: datetime
) -> Lifted | None:
    """End a block by a person's decision; None: there is none that is open."""
    async with connection.cursor(row_factory=class_row(Lifted)) as rows:
        await rows.execute(
            """
            UPDATE payment_block b
               SET until_at = greatest(%s, b.from_at), lifted_by = %s, lifted_for = %s
              FROM client c
             WHERE c.id = b.client_id AND b.id = %s AND b.until_at IS NULL
            RETURNING b.id, b.client_id, c.name AS client, b.person_id
            """,
            (now, by, reason, block_id),
        )
        return await rows.fetchone()


@dataclass(frozen=True, slots=True)
class BlockRow:
    """A block, in a list; `invoices`: (id, number, left_cents) of those that it was set for."""

    id: int
    client_id: int
    client: str
    person_id: int
    from_at: datetime
    by: str
    until_at: datetime | None
    lifted_by: str | None
    lifted_for: str | None
    invoices: list[tuple[int, str, int]]


async def list_blocks(
    connection: AsyncConnection,
    *,
    client_id: int | None,
    person_id: int | None,
    is_open: bool | None,
    limit: int,
    cursor: Cursor | None = None,
) -> list[BlockRow]:
    """Blocks, the last set first."""
    async with connection.cursor(row_factory=class_row(BlockRow)) as rows:
        await rows.execute(
            """
            SELECT b.id, b.client_id, c.name AS client, b.person_id, b.from_at, b.by, b.until_at,
                   b.lifted_by, b.lifted_for,
                   ARRAY(SELECT json_build_array(o.invoice_id, o.number, o.open_cents)
                           FROM payable_invoice o
                          WHERE o.invoice_id IN (SELECT x.invoice_id FROM payment_block_cause x
                                                  WHERE x.block_id = b.id)
                          ORDER BY o.invoice_id) AS invoices
              FROM payment_block b JOIN client c ON c.id = b.client_id
             WHERE (%(client_id)s::bigint IS NULL OR b.client_id = %(client_id)s)
               AND (%(person_id)s::bigint IS NULL OR b.person_id = %(person_id)s)
               AND (%(is_open)s::boolean IS NULL OR (b.until_at IS NULL) = %(is_open)s)
               AND (%(after)s::bigint IS NULL OR b.id < %(after)s)
             ORDER BY b.id DESC LIMIT %(limit)s
            """,
            {
                "client_id": client_id,
                "person_id": person_id,
                "is_open": is_open,
                "after": cursor.key[0] if cursor else None,
                "limit": limit,
            },
        )
        return await rows.fetchall()


async def count_blocks(
    connection: AsyncConnection,
    *,
    client_id: int | None,
    person_id: int | None,
    is_open: bool | None,
) -> int:
    """How many `list_blocks` has."""
    cursor = await connection.execute(
        """
        SELECT count(*) FROM payment_block b
         WHERE (%(client_id)s::bigint IS NULL OR b.client_id = %(client_id)s)
           AND (%(person_id)s::bigint IS NULL OR b.person_id = %(person_id)s)
           AND (%(is_open)s::boolean IS NULL OR (b.until_at IS NULL) = %(is_open)s)
        """,
        {"client_id": client_id, "person_id": person_id, "is_open": is_open},
    )
    row = await cursor.fetchone()
    assert row is not None
    return int(row[0])


@dataclass(frozen=True, slots=True)
class LetterRow:
    """What was written about an invoice."""

    id: int
    invoice_id: int
    client_id: int
    person_id: int | None
    due_since_on: date
    level: int
    amount_cents: int
    sent_at: datetime
    takes_effect_on: date | None


async def list_letters(connection: AsyncConnection, invoice_id: int) -> list[LetterRow]:
    """The reminders and notices of an invoice, the first one first."""
    async with connection.cursor(row_factory=class_row(LetterRow)) as rows:
        await rows.execute(
            """
            SELECT id, invoice_id, client_id, person_id, due_since_on, level, amount_cents, sent_at,
                   takes_effect_on
              FROM reminder WHERE invoice_id = %s ORDER BY id
            """,
            (invoice_id,),
        )
        return await rows.fetchall()


async def has_invoice(connection: AsyncConnection, invoice_id: int) -> bool:
    """Whether there is such an invoice."""
    cursor = await connection.execute(
        "SELECT EXISTS (SELECT FROM invoice WHERE id = %s)", (invoice_id,)
    )
    row = await cursor.fetchone()
    assert row is not None
    return bool(row[0])
