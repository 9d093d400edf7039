"""SQL of consents, and of requests that people make about their data."""

from dataclasses import dataclass
from datetime import date, datetime

from psycopg import AsyncConnection
from psycopg.rows import class_row, scalar_row

from csms.store.paging import Cursor, fetch_count


@dataclass(frozen=True, slots=True)
class Consent:
    """What a person agreed to, and for how long."""

    id: int
    person_id: int
    purpose: str
    text_version: str
    how: str
    given_at: datetime
    withdrawn_at: datetime | None  # None: it holds


@dataclass(frozen=True, slots=True)
class DataRequest:
    """A person's request; see csms.domain.data_request."""

    id: int
    person_id: int | None  # None: somebody who has no account
    kind: str
    state: str
    received_at: datetime
    requester: str
    message: str
    due_on: date
    close_on: date | None  # last day to close the account
    extended_at: datetime | None
    extension_reason: str | None
    closed_at: datetime | None  # the account was
    finished_at: datetime | None
    outcome: str
    kept_until: date | None  # what the law keeps longer


@dataclass(frozen=True, slots=True)
class Due:
    """An open request whose next day is near or past."""

    id: int
    kind: str
    last_on: date  # of the answer, or of the end of the account, whichever comes first


# --- Consents -------------------------------------------------------------------------------------


async def give_consent(
    connection: AsyncConnection,
    person_id: int,
    purpose: str,
    text_version: str,
    how: str,
    now: datetime,
) -> bool:
    """Note a consent; False when one to this purpose holds already."""
    cursor = await connection.execute(
        """
        INSERT INTO consent (person_id, purpose, text_version, how, given_at)
        VALUES (%(person_id)s, %(purpose)s, %(text_version)s, %(how)s, %(now)s)
        ON CONFLICT (person_id, purpose) WHERE withdrawn_at IS NULL DO NOTHING
        """,
        {
            "person_id": person_id,
            "purpose": purpose,
            "text_version": text_version,
            "how": how,
            "now": now,
        },
    )
    return cursor.rowcount == 1


async def withdraw_consents(
    connection: AsyncConnection, person_id: int, purpose: str | None, now: datetime
) -> int:
    """End the consent to a purpose, or to all; how many that were."""
    cursor = await connection.execute(
        """
        UPDATE consent SET withdrawn_at = greatest(given_at, %(now)s)
         WHERE person_id = %(person_id)s AND withdrawn_at IS NULL
           AND (%(purpose)s::text IS NULL OR purpose = %(purpose)s)
        """,
        {"person_id": person_id, "purpose": purpose, "now": now},
    )
    return cursor.rowcount


async def list_consents(connection: AsyncConnection, person_id: int) -> list[Consent]:
    """All of a person's, the newest first."""
    async with connection.cursor(row_factory=class_row(Consent)) as rows:
        await rows.execute(
            """
            SELECT id, person_id, purpose, text_version, how, given_at, withdrawn_at
              FROM consent WHERE person_id = %s ORDER BY id DESC
            """,
            (person_id,),
        )
        return await rows.fetchall()


async def consents_to(connection: AsyncConnection, person_id: int, purpose: str) -> bool:
    """Whether a person with an open account agrees to the purpose now."""
    return bool(
        await fetch_count(
            connection,
            """
            SELECT count(*) FROM consent c JOIN person p ON p.id = c.person_id
             WHERE c.person_id = %(person_id)s AND c.purpose = %(purpose)s
               AND c.withdrawn_at IS NULL AND p.closed_at IS NULL AND p.erased_at IS NULL
            """,
            {"person_id": person_id, "purpose": purpose},
        )
    )


# --- Requests -------------------------------------------------------------------------------------


async def add_request(
    connection: AsyncConnection,
    *,
    person_id: int | None,
    kind: str,
    received_at: datetime,
    received_by: str,
    requester: str,
    message: str,
    due_on: date,
    close_on: date | None,
) -> int | None:
    """A new request; None when the person has one of this kind that is open."""
    async with connection.cursor(row_factory=scalar_row) as rows:
        await rows.execute(
            """
            INSERT INTO data_request (person_id, kind, received_at, received_by, requester, message,
                                      due_on, close_on)
            VALUES (%(person_id)s, %(kind)s, %(received_at)s, %(received_by)s, %(requester)s,
                    %(message)s, %(due_on)s, %(close_on)s)
            ON CONFLICT (person_id, kind) WHERE finished_at IS NULL DO NOTHING RETURNING id
            """,
            {
                "person_id": person_id,
                "kind": kind,
                "received_at": received_at,
                "received_by": received_by,
                "requester": requester,
                "message": message,
                "due_on": due_on,
                "close_on": close_on,
            },
        )
        found: int | None = await rows.fetchone()
        return found


async def lock_request(connection: AsyncConnection, request_id: int) -> DataRequest | None:
    """The request, which nobody else changes before the transaction ends."""
    async with connection.cursor(row_factory=class_row(DataRequest)) as rows:
        await rows.execute(
            """
            SELECT id, person_id, kind, state, received_at, requester, message, due_on, close_on,
                   extended_at, extension_reason, closed_at, finished_at, outcome, kept_until
              FROM data_request WHERE id = %s FOR UPDATE
            """,
            (request_id,),
        )
        return await rows.fetchone()


async def extend_request(
    connection: AsyncConnection, request_id: int, due_on: date, reason: str, now: datetime
) -> None:
    """Move the day of the answer."""
    await connection.execute(
        """
        UPDATE data_request
           SET due_on = %(due_on)s, extended_at = %(now)s, extension_reason = %(reason)s
         WHERE id = %(id)s
        """,
        {"id": request_id, "due_on": due_on, "reason": reason, "now": now},
    )


async def start_request(connection: AsyncConnection, request_id: int) -> None:
    """Somebody works on it."""
    await connection.execute(
        "UPDATE data_request SET state = 'working' WHERE id = %s", (request_id,)
    )


async def finish_request(
    connection: AsyncConnection,
    request_id: int,
    *,
    state: str,
    now: datetime,
    by: str,
    outcome: str,
    kept_until: date | None,
) -> None:
    """The request is answered, refused or withdrawn."""
    await connection.execute(
        """
        UPDATE data_request
           SET state = %(state)s, finished_at = %(now)s, finished_by = %(by)s,
               outcome = %(outcome)s, kept_until = %(kept_until)s
         WHERE id = %(id)s
        """,
        {
            "id": request_id,
            "state": state,
            "now": now,
            "by": by,
            "outcome": outcome,
            "kept_until": kept_until,
        },
    )


async def note_closing(connection: AsyncConnection, person_id: int, now: datetime) -> None:
    """Open requests that asked for the account to be closed have that."""
    await connection.execute(
        """
        UPDATE data_request SET closed_at = %s
         WHERE person_id = %s AND finished_at IS NULL AND close_on IS NOT NULL AND closed_at IS NULL
        """,
        (now, person_id),
    )


async def list_requests(
    connection: AsyncConnection,
    *,
    person_id: int | None,
    kind: str | None,
    state: str | None,
    due_before: date | None,
    limit: int,
    cursor: Cursor | None,
) -> list[DataRequest]:
    """Up to `limit` requests, by the day of their answer; `due_before`: only what is open then."""
    async with connection.cursor(row_factory=class_row(DataRequest)) as rows:
        await rows.execute(
            """
            SELECT id, person_id, kind, state, received_at, requester, message, due_on, close_on,
                   extended_at, extension_reason, closed_at, finished_at, outcome, kept_until
              FROM data_request
             WHERE (%(person_id)s::bigint IS NULL OR person_id = %(person_id)s)
               AND (%(kind)s::text IS NULL OR kind = %(kind)s)
               AND (%(state)s::text IS NULL OR state = %(state)s)
               AND (%(due_before)s::date IS NULL
                    OR (finished_at IS NULL
                        AND (due_on < %(due_before)s
                             OR (close_on < %(due_before)s AND closed_at IS NULL))))
               AND (%(id)s::bigint IS NULL OR id > %(id)s)
             ORDER BY id LIMIT %(limit)s
            """,
            {
                "person_id": person_id,
                "kind": kind,
                "state": state,
                "due_before": due_before,
                "id": cursor.key[0] if cursor else None,
                "limit": limit,
            },
            prepare=False,
        )
        return await rows.fetchall()


async def count_requests(
    connection: AsyncConnection,
    *,
    person_id: int | None,
    kind: str | None,
    state: str | None,
    due_before: date | None,
) -> int:
    """How many the filters of `list_requests` leave."""
    return await fetch_count(
        connection,
        """
        SELECT count(*) FROM data_request
         WHERE (%(person_id)s::bigint IS NULL OR person_id = %(person_id)s)
           AND (%(kind)s::text IS NULL OR kind = %(kind)s)
           AND (%(state)s::text IS NULL OR state = %(state)s)
           AND (%(due_before)s::date IS NULL
                OR (finished_at IS NULL
                    AND (due_on < %(due_before)s
                         OR (close_on < %(due_before)s AND closed_at IS NULL))))
        """,
        {"person_id": person_id, "kind": kind, "state": state, "due_before": due_before},
    )


async def count_open(connection: AsyncConnection, due_before: date | None) -> int:
    """How many requests are open; of those whose last day, or that of the account, is before."""
    return await fetch_count(
        connection,
        """
        SELECT count(*) FROM data_request
         WHERE finished_at IS NULL
           AND (%(due_before)s::date IS NULL OR due_on < %(due_before)s
                OR (close_on < %(due_before)s AND closed_at IS NULL))
        """,
        {"due_before": due_before},
    )


async def list_due(connection: AsyncConnection, before: date) -> list[Due]:
    """Open requests with a day before then, and which it is; the thousand that are due first."""
    async with connection.cursor(row_factory=class_row(Due)) as rows:
        await rows.execute(
            """
            SELECT id, kind, least(due_on, CASE WHEN closed_at IS NULL THEN close_on END) AS last_on
              FROM data_request
             WHERE finished_at IS NULL
               AND least(due_on, CASE WHEN closed_at IS NULL THEN close_on END) < %s
             ORDER BY last_on, id LIMIT 1000
            """,
            (before,),
        )
        return await rows.fetchall()
