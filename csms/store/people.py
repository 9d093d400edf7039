"""SQL of people: who they are, what they may do, how they prove who they are.

What people are shown of a person (`Person`) reads the columns that their own role may read; hashes
and second factors are read by `find_credentials` and `get_credentials` alone.
"""

from dataclasses import dataclass
from datetime import datetime

from psycopg import AsyncConnection
from psycopg.rows import class_row

from csms.store.paging import Cursor, fetch_count


@dataclass(frozen=True, slots=True)
class Person:
    """A person as shown to herself and to operators."""

    id: int
    email: str | None  # None: no log-in
    given_name: str
    family_name: str
    phone: str | None
    language: str
    operator_roles: list[str]
    manages: list[int]  # clients, now
    is_driver: bool
    email_verified_at: datetime | None  # None: has not accepted her invitation
    totp_confirmed_at: datetime | None  # None: has no second factor
    created_at: datetime
    updated_at: datetime
    blocked_at: datetime | None
    closed_at: datetime | None


@dataclass(frozen=True, slots=True)
class Credentials:
    """How a person proves who she is."""

    id: int
    email: str | None
    language: str
    operator_roles: list[str]
    password_hash: str | None  # None: invited, or reset by an operator
    password_changed_at: datetime | None
    totp_secret: bytes | None  # sealed
    totp_confirmed_at: datetime | None
    totp_last_step: int
    recovery_sha256: list[bytes]
    blocked_at: datetime | None
    closed_at: datetime | None

    @property
    def is_open(self) -> bool:
        """Whether the account may be used at all."""
        return self.blocked_at is None and self.closed_at is None


@dataclass(frozen=True, slots=True)
class Managing:
    """A client that a person manages, and how long."""

    person_id: int
    client_id: int
    client: str
    from_at: datetime
    to_at: datetime | None
    granted_by: str


async def add_person(
    connection: AsyncConnection,
    *,
    email: str | None,
    given_name: str,
    family_name: str,
    phone: str | None,
    language: str,
    operator_roles: list[str],
    now: datetime,
) -> int | None:
    """The new person's id; None when the address is somebody's already."""
    cursor = await connection.execute(
        """
        INSERT INTO person (email, given_name, family_name, phone, language, operator_roles,
                            created_at, updated_at)
        VALUES (%(email)s, %(given_name)s, %(family_name)s, %(phone)s, %(language)s,
                %(operator_roles)s, %(now)s, %(now)s)
        ON CONFLICT ((lower(email))) DO NOTHING RETURNING id
        """,
        {
            "email": email,
            "given_name": given_name,
            "family_name": family_name,
            "phone": phone,
            "language": language,
            "operator_roles": operator_roles,
            "now": now,
        },
    )
    row = await cursor.fetchone()
    return row[0] if row else None


async def get_person(connection: AsyncConnection, person_id: int) -> Person | None:
    """A person; None also when the connection's role may not see her."""
    async with connection.cursor(row_factory=class_row(Person)) as rows:
        await rows.execute(
            """
            SELECT p.id, p.email, p.given_name, p.family_name, p.phone, p.language,
                   p.operator_roles,
                   ARRAY(SELECT m.client_id FROM client_manager m
                          WHERE m.person_id = p.id AND m.from_at <= statement_timestamp()
                            AND (m.to_at IS NULL OR m.to_at > statement_timestamp())
                          ORDER BY m.client_id) AS manages,
                   EXISTS (SELECT FROM driver d
                            WHERE d.person_id = p.id AND d.closed_at IS NULL) AS is_driver,
                   p.email_verified_at, p.totp_confirmed_at, p.created_at, p.updated_at,
                   p.blocked_at, p.closed_at
              FROM person p WHERE p.id = %s
            """,
            (person_id,),
        )
        return await rows.fetchone()


async def list_people(
    connection: AsyncConnection,
    *,
    search: str | None,
    role: str | None,
    client_id: int | None,
    limit: int,
    cursor: Cursor | None,
) -> list[Person]:
    """Up to `limit` people by id: part of a name or address, an operator's role, managers of a
    client. Nobody who was erased: nothing is left of her but her number."""
    async with connection.cursor(row_factory=class_row(Person)) as rows:
        await rows.execute(
            """
            SELECT p.id, p.email, p.given_name, p.family_name, p.phone, p.language,
                   p.operator_roles,
                   ARRAY(SELECT m.client_id FROM client_manager m
                          WHERE m.person_id = p.id AND m.from_at <= statement_timestamp()
                            AND (m.to_at IS NULL OR m.to_at > statement_timestamp())
                          ORDER BY m.client_id) AS manages,
                   EXISTS (SELECT FROM driver d
                            WHERE d.person_id = p.id AND d.closed_at IS NULL) AS is_driver,
                   p.email_verified_at, p.totp_confirmed_at, p.created_at, p.updated_at,
                   p.blocked_at, p.closed_at
              FROM person p
             WHERE p.erased_at IS NULL
               AND (%(search)s::text IS NULL
                    OR position(lower(%(search)s)
                                IN lower(concat_ws(' ', p.given_name, p.family_name, p.email))) > 0)
               AND (%(role)s::text IS NULL OR %(role)s = ANY (p.operator_roles))
               AND (%(client_id)s::bigint IS NULL
                    OR EXISTS (SELECT FROM client_manager m
                                WHERE m.person_id = p.id AND m.client_id = %(client_id)s
                                  AND m.from_at <= statement_timestamp()
                                  AND (m.to_at IS NULL OR m.to_at > statement_timestamp())))
               AND p.id > %(after)s::bigint
             ORDER BY p.id LIMIT %(limit)s
            """,
            {
                "search": search,
                "role": role,
                "client_id": client_id,
                "after": cursor.key[0] if cursor else 0,
                "limit": limit,
            },
            prepare=False,
        )
        return await rows.fetchall()


async def count_people(
    connection: AsyncConnection, *, search: str | None, role: str | None, client_id: int | None
) -> int:
    """How many people the filters of `list_people` leave."""
    return await fetch_count(
        connection,
        """
        SELECT count(*) FROM person p
         WHERE p.erased_at IS NULL
           AND (%(search)s::text IS NULL
                OR position(lower(%(search)s)
                            IN lower(concat_ws(' ', p.given_name, p.family_name, p.email))) > 0)
           AND (%(role)s::text IS NULL OR %(role)s = ANY (p.operator_roles))
           AND (%(client_id)s::bigint IS NULL
                OR EXISTS (SELECT FROM client_manager m
                            WHERE m.person_id = p.id AND m.client_id = %(client_id)s
                              AND m.from_at <= statement_timestamp()
                              AND (m.to_at IS NULL OR m.to_at > statement_timestamp())))
        """,
        {"search": search, "role": role, "client_id": client_id},
    )


async def find_credentials(connection: AsyncConnection, email: str) -> Credentials | None:
    """Those of the person with this address, without case."""
    async with connection.cursor(row_factory=class_row(Credentials)) as rows:
        await rows.execute(
            """
            SELECT id, email, language, operator_roles, password_hash, password_changed_at,
                   totp_secret, totp_confirmed_at, totp_last_step, recovery_sha256, blocked_at,
                   closed_at
              FROM person WHERE lower(email) = lower(%s)
            """,
            (email,),
        )
        return await rows.fetchone()


async def get_credentials(connection: AsyncConnection, person_id: int) -> Credentials | None:
    """Those of a person."""
    async with connection.cursor(row_factory=class_row(Credentials)) as rows:
        await rows.execute(
            """
            SELECT id, email, language, operator_roles, password_hash, password_changed_at,
                   totp_secret, totp_confirmed_at, totp_last_step, recovery_sha256, blocked_at,
                   closed_at
              FROM person WHERE id = %s
            """,
            (person_id,),
        )
        return await rows.fetchone()


async def hold_credentials(
    connection: AsyncConnection, person_id: int, password_changed_at: datetime | None
) -> bool:
    """Whether the account is open and its password still the one that was chosen then; it stays so
    until the transaction ends."""
    cursor = await connection.execute(
        """
        SELECT true FROM person
         WHERE id = %(id)s AND blocked_at IS NULL AND closed_at IS NULL
           AND password_changed_at IS NOT DISTINCT FROM %(password_changed_at)s::timestamptz
           FOR NO KEY UPDATE
        """,
        {"id": person_id, "password_changed_at": password_changed_at},
    )
    return await cursor.fetchone() is not None


async def lock_person(connection: AsyncConnection, person_id: int) -> None:
    """Let one at a time change how a person logs in: before her links, as everybody does."""
    await connection.execute("SELECT FROM person WHERE id = %s FOR NO KEY UPDATE", (person_id,))


async def update_profile(
    connection: AsyncConnection,
    person_id: int,
    *,
    given_name: str | None,
    family_name: str | None,
    phone: str | None,
    forget_phone: bool,
    language: str | None,
    now: datetime,
) -> None:
    """Change what is not None; `forget_phone` clears the number."""
    await connection.execute(
        """
        UPDATE person
           SET given_name = coalesce(%(given_name)s, given_name),
               family_name = coalesce(%(family_name)s, family_name),
               phone = CASE WHEN %(forget_phone)s THEN NULL ELSE coalesce(%(phone)s, phone) END,
               language = coalesce(%(language)s, language), updated_at = %(now)s
         WHERE id = %(id)s
        """,
        {
            "id": person_id,
            "given_name": given_name,
            "family_name": family_name,
            "phone": phone,
            "forget_phone": forget_phone,
            "language": language,
            "now": now,
        },
    )


async def set_password(
    connection: AsyncConnection, person_id: int, password_hash: str, now: datetime
) -> None:
    """Store the hash of a password that was chosen now."""
    await connection.execute(
        """
        UPDATE person SET password_hash = %(password_hash)s, password_changed_at = %(now)s,
               updated_at = %(now)s
         WHERE id = %(id)s
        """,
        {"id": person_id, "password_hash": password_hash, "now": now},
    )


async def set_email(connection: AsyncConnection, person_id: int, email: str, now: datetime) -> bool:
    """Give a person another address, proved; False when it is somebody else's."""
    cursor = await connection.execute(
        """
        UPDATE person SET email = %(email)s, email_verified_at = %(now)s, updated_at = %(now)s
         WHERE id = %(id)s AND NOT EXISTS (SELECT FROM person other
                                            WHERE lower(other.email) = lower(%(email)s)
                                              AND other.id <> %(id)s)
        """,
        {"id": person_id, "email": email, "now": now},
    )
    return cursor.rowcount == 1


async def verify_email(connection: AsyncConnection, person_id: int, now: datetime) -> None:
    """A mail to her address has come to her."""
    await connection.execute(
        """
        UPDATE person SET email_verified_at = coalesce(email_verified_at, %(now)s)
         WHERE id = %(id)s
        """,
        {"id": person_id, "now": now},
    )


async def set_roles(
    connection: AsyncConnection, person_id: int, roles: list[str], now: datetime
) -> None:
    """Replace the operator's roles."""
    await connection.execute(
        """
        UPDATE person SET operator_roles = %(roles)s, updated_at = %(now)s WHERE id = %(id)s
        """,
        {"id": person_id, "roles": roles, "now": now},
    )


async def set_blocked(
    connection: AsyncConnection, person_id: int, blocked: bool, now: datetime
) -> None:
    """Block, since now or earlier; or let in again."""
    await connection.execute(
        """
        UPDATE person
           SET blocked_at = CASE WHEN %(blocked)s THEN coalesce(blocked_at, %(now)s) END,
               updated_at = %(now)s
         WHERE id = %(id)s
        """,
        {"id": person_id, "blocked": blocked, "now": now},
    )


async def set_totp(
    connection: AsyncConnection, person_id: int, totp_secret: bytes, now: datetime
) -> None:
    """A second factor that waits for its first code, in place of one that did."""
    await connection.execute(
        """
        UPDATE person SET totp_secret = %(totp_secret)s, totp_last_step = 0, updated_at = %(now)s
         WHERE id = %(id)s AND totp_confirmed_at IS NULL
        """,
        {"id": person_id, "totp_secret": totp_secret, "now": now},
    )


async def confirm_totp(
    connection: AsyncConnection, person_id: int, recovery_sha256: list[bytes], now: datetime
) -> None:
    """The second factor counts from now on."""
    await connection.execute(
        """
        UPDATE person SET totp_confirmed_at = %(now)s, recovery_sha256 = %(recovery_sha256)s,
               updated_at = %(now)s
         WHERE id = %(id)s
        """,
        {"id": person_id, "recovery_sha256": recovery_sha256, "now": now},
    )


async def set_recovery(
    connection: AsyncConnection, person_id: int, recovery_sha256: list[bytes]
) -> None:
    """Other recovery codes."""
    await connection.execute(
        "UPDATE person SET recovery_sha256 = %s WHERE id = %s", (recovery_sha256, person_id)
    )


async def remove_totp(connection: AsyncConnection, person_id: int, now: datetime) -> None:
    """No second factor any more."""
    await connection.execute(
        """
        UPDATE person SET totp_secret = NULL, totp_confirmed_at = NULL, totp_last_step = 0,
               recovery_sha256 = '{}', updated_at = %(now)s
         WHERE id = %(id)s
        """,
        {"id": person_id, "now": now},
    )


async def use_totp_step(connection: AsyncConnection, person_id: int, step: int) -> bool:
    """Use up the code of a step; False when it, or a later one, was used already."""
    cursor = await connection.execute(
        """
        UPDATE person SET totp_last_step = %(step)s WHERE id = %(id)s AND totp_last_step < %(step)s
        """,
        {"id": person_id, "step": step},
    )
    return cursor.rowcount == 1


async def use_recovery(connection: AsyncConnection, person_id: int, sha256: bytes) -> bool:
    """Use up a recovery code; False when there is none such."""
    cursor = await connection.execute(
        """
        UPDATE person SET recovery_sha256 = array_remove(recovery_sha256, %(sha256)s::bytea)
         WHERE id = %(id)s AND %(sha256)s::bytea = ANY (recovery_sha256)
        """,
        {"id": person_id, "sha256": sha256},
    )
    return cursor.rowcount == 1


async def add_manager(
    connection: AsyncConnection,
    *,
    person_id: int,
    client_id: int,
    from_at: datetime,
    to_at: datetime | None,
    granted_by: str,
) -> bool:
    """Let a person manage a client for a time; False when she does in that time already."""
    cursor = await connection.execute(
        """
        INSERT INTO client_manager (person_id, client_id, from_at, to_at, granted_by)
        SELECT %(person_id)s, %(client_id)s, %(from_at)s, %(to_at)s, %(granted_by)s
         WHERE NOT EXISTS (SELECT FROM client_manager
                            WHERE person_id = %(person_id)s AND client_id = %(client_id)s
                              AND tstzrange(from_at, to_at) && tstzrange(%(from_at)s, %(to_at)s))
        ON CONFLICT DO NOTHING
        """,
        {
            "person_id": person_id,
            "client_id": client_id,
            "from_at": from_at,
            "to_at": to_at,
            "granted_by": granted_by,
        },
    )
    return cursor.rowcount == 1


async def end_manager(
    connection: AsyncConnection, person_id: int, client_id: int, now: datetime
) -> int:
    """A person manages the client no more, nor will: how many periods that ended. One that has not
    begun lasts no more than a moment."""
    cursor = await connection.execute(
        """
        UPDATE client_manager
           SET to_at = greatest(%(now)s, from_at + interval '1 microsecond')
         WHERE person_id = %(person_id)s AND client_id = %(client_id)s
           AND (to_at IS NULL OR to_at > greatest(%(now)s, from_at + interval '1 microsecond'))
        """,
        {"person_id": person_id, "client_id": client_id, "now": now},
    )
    return cursor.rowcount


async def list_managing(connection: AsyncConnection, person_id: int) -> list[Managing]:
    """What a person manages, managed, or will manage, newest first."""
    async with connection.cursor(row_factory=class_row(Managing)) as rows:
        await rows.execute(
            """
            SELECT m.person_id, m.client_id, c.name AS client, m.from_at, m.to_at, m.granted_by
              FROM client_manager m JOIN client c ON c.id = m.client_id
             WHERE m.person_id = %s ORDER BY m.from_at DESC, m.client_id
            """,
            (person_id,),
        )
        return await rows.fetchall()
