"""SQL of drivers: who they are, to whom they are invoiced, whose a badge is."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import class_row, scalar_row

from csms.store.paging import Cursor, fetch_count


@dataclass(frozen=True, slots=True)
class SiteRule:
    """A window at a site, of a group that the driver is or will be in."""

    site_id: str
    time_zone: str
    weekdays: int
    from_minute: int
    to_minute: int
    from_at: datetime
    to_at: datetime | None


async def find_person_of_badge(connection: AsyncConnection, uid: str, at: datetime) -> int | None:
    """Whose badge it was then; None: nobody's."""
    async with connection.cursor(row_factory=scalar_row) as rows:
        await rows.execute(
            """
            SELECT person_id FROM driver_badge
             WHERE uid_key = lower(%(uid)s) AND from_at <= %(at)s
               AND (to_at IS NULL OR to_at > %(at)s)
            """,
            {"uid": uid, "at": at},
        )
        found: int | None = await rows.fetchone()
        return found


async def lock_driver(connection: AsyncConnection, person_id: int) -> bool | None:
    """Hold the driver until the transaction ends: whether she may charge at all, that is, neither
    she nor her account is blocked or closed; None: there is no such driver."""
    async with connection.cursor(row_factory=scalar_row) as rows:
        await rows.execute(
            """
            SELECT coalesce(p.blocked_at, p.closed_at, d.closed_at) IS NULL
              FROM driver d JOIN person p ON p.id = d.person_id
             WHERE d.person_id = %s FOR UPDATE OF d
            """,
            (person_id,),
        )
        found: bool | None = await rows.fetchone()
        return found


async def find_app_badge(connection: AsyncConnection, person_id: int, now: datetime) -> str | None:
    """The uid of the driver's virtual badge."""
    async with connection.cursor(row_factory=scalar_row) as rows:
        await rows.execute(
            """
            SELECT t.uid FROM driver_badge b JOIN token t USING (token_key)
             WHERE b.person_id = %(person_id)s AND b.from_at <= %(now)s
               AND (b.to_at IS NULL OR b.to_at > %(now)s)
               AND t.type = 'Central' AND t.uid ~ '^APP[0-9A-F]{12}$' AND t.retired_at IS NULL
             ORDER BY b.from_at LIMIT 1
            """,
            {"person_id": person_id, "now": now},
        )
        found: str | None = await rows.fetchone()
        return found


async def insert_app_badge(connection: AsyncConnection, uid: str) -> bool:
    """A new virtual badge, of the operator's own client; False when the uid is taken."""
    cursor = await connection.execute(
        """
        INSERT INTO token (uid_key, uid, type) VALUES (lower(%(uid)s), %(uid)s, 'Central')
        ON CONFLICT (uid_key) DO NOTHING
        """,
        {"uid": uid},
    )
    return cursor.rowcount == 1


async def insert_assignment(
    connection: AsyncConnection, uid: str, person_id: int, label: str, now: datetime
) -> None:
    """The badge is the driver's from now on; whoever had it has been taken off before."""
    await connection.execute(
        """
        INSERT INTO driver_badge (token_key, uid_key, person_id, label, from_at)
        SELECT token_key, uid_key, %(person_id)s, %(label)s, %(now)s
          FROM token WHERE uid_key = lower(%(uid)s)
        """,
        {"uid": uid, "person_id": person_id, "label": label, "now": now},
    )


async def list_site_rules(
    connection: AsyncConnection, person_id: int, now: datetime
) -> list[SiteRule]:
    """What the driver's groups say of sites, from now on; by site. Nothing of one who is blocked
    or closed, nor of a client whose contract is suspended or over."""
    async with connection.cursor(row_factory=class_row(SiteRule)) as rows:
        await rows.execute(
            """
            SELECT a.site_id, s.time_zone, a.weekdays, a.from_minute, a.to_minute, m.from_at,
                   least(m.to_at, a.retired_at, g.retired_at) AS to_at
              FROM group_member m JOIN driver_group g ON g.id = m.group_id
              JOIN group_access a ON a.group_id = g.id JOIN site s ON s.id = a.site_id
              JOIN driver d ON d.person_id = m.person_id JOIN person p ON p.id = m.person_id
             WHERE m.person_id = %(person_id)s
               AND coalesce(least(m.to_at, a.retired_at, g.retired_at) > %(now)s, true)
               AND coalesce(p.blocked_at, p.closed_at, d.closed_at) IS NULL
               AND NOT EXISTS (SELECT FROM client_closure c
                                WHERE c.client_id = s.client_id AND c.from_at <= %(now)s
                                  AND (c.to_at IS NULL OR c.to_at > %(now)s))
             ORDER BY a.site_id, a.id
            """,
            {"person_id": person_id, "now": now},
        )
        return await rows.fetchall()


# --- Who they are -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PersonConfig:
    """What others enter of a person."""

    email: str | None  # None: no log-in
    given_name: str
    family_name: str
    phone: str | None
    language: str


@dataclass(frozen=True, slots=True)
class Known(PersonConfig):
    """A person of that address, and what she is besides a driver."""

    id: int
    is_driver: bool  # closed ones too
    is_closed: bool  # as a driver
    is_staff: (
        bool  # has operators' roles, or manages a client: her account is not others' to change
    )


@dataclass(frozen=True, slots=True)
class Billing:
    """To whom what a driver owes is invoiced; empty texts are not known."""

    billing_name: str  # '': as the person's
    company: str | None
    siren: str | None
    vat_number: str | None
    street: str
    postal_code: str
    city: str
    country: str  # ISO 3166


@dataclass(frozen=True, slots=True)
class Driver(PersonConfig):
    """A driver as operators and managers see her; `billing` None: not for the reader's eyes."""

    id: int
    email_verified: bool
    billing: dict[str, Any] | None
    groups: list[dict[str, Any]]  # of now and later: id, name, client_id, from_at, to_at
    badges: list[dict[str, Any]]  # hers now, but the virtual one
    created_at: datetime
    blocked_at: datetime | None
    closed_at: datetime | None


async def find_person(
    connection: AsyncConnection, *, person_id: int | None = None, email: str | None = None
) -> Known | None:
    """A person by number or by address, without case; held until the transaction ends."""
    async with connection.cursor(row_factory=class_row(Known)) as rows:
        await rows.execute(
            """
            SELECT p.id, p.email, p.given_name, p.family_name, p.phone, p.language,
                   d.person_id IS NOT NULL AS is_driver, d.closed_at IS NOT NULL AS is_closed,
                   p.operator_roles <> '{}'
                   OR EXISTS (SELECT FROM client_manager m
                               WHERE m.person_id = p.id AND (m.to_at IS NULL OR m.to_at > now()))
                   AS is_staff
              FROM person p LEFT JOIN driver d ON d.person_id = p.id
             WHERE p.erased_at IS NULL
               AND (p.id = %(id)s OR lower(p.email) = lower(%(email)s)) FOR UPDATE OF p
            """,
            {"id": person_id, "email": email},
        )
        return await rows.fetchone()


async def insert_person(connection: AsyncConnection, config: PersonConfig) -> int | None:
    """A new person; None when another has the address."""
    async with connection.cursor(row_factory=scalar_row) as rows:
        await rows.execute(
            """
            INSERT INTO person (email, given_name, family_name, phone, language)
            VALUES (%s, %s, %s, %s, %s) ON CONFLICT (lower(email)) DO NOTHING RETURNING id
            """,
            (config.email, config.given_name, config.family_name, config.phone, config.language),
        )
        found: int | None = await rows.fetchone()
        return found


async def update_person(
    connection: AsyncConnection, person_id: int, config: PersonConfig, now: datetime
) -> None:
    """Write a person anew; another address has yet to be confirmed."""
    await connection.execute(
        """
        UPDATE person
           SET email = %(email)s, given_name = %(given_name)s, family_name = %(family_name)s,
               phone = %(phone)s, language = %(language)s, updated_at = %(now)s,
               email_verified_at = CASE WHEN lower(email) = lower(%(email)s)
                                        THEN email_verified_at END
         WHERE id = %(id)s
        """,
        {
            "id": person_id,
            "email": config.email,
            "given_name": config.given_name,
            "family_name": config.family_name,
            "phone": config.phone,
            "language": config.language,
            "now": now,
        },
    )


async def write_driver(connection: AsyncConnection, person_id: int, now: datetime) -> None:
    """The person is a driver; one who was closed is one again."""
    await connection.execute(
        """
        INSERT INTO driver (person_id, created_at) VALUES (%(id)s, %(now)s)
        ON CONFLICT (person_id) DO UPDATE SET closed_at = NULL, updated_at = %(now)s
        """,
        {"id": person_id, "now": now},
    )


async def get_billing(connection: AsyncConnection, person_id: int) -> Billing | None:
    """To whom the driver's charging is invoiced; None: there is no such driver."""
    async with connection.cursor(row_factory=class_row(Billing)) as rows:
        await rows.execute(
            """
            SELECT billing_name, company, siren, vat_number, street, postal_code, city, country
              FROM driver WHERE person_id = %s
            """,
            (person_id,),
        )
        return await rows.fetchone()


async def update_billing(
    connection: AsyncConnection, person_id: int, billing: Billing, now: datetime
) -> None:
    """Write it anew."""
    await connection.execute(
        """
        UPDATE driver
           SET billing_name = %(billing_name)s, company = %(company)s, siren = %(siren)s,
               vat_number = %(vat_number)s, street = %(street)s, postal_code = %(postal_code)s,
               city = %(city)s, country = %(country)s, updated_at = %(now)s
         WHERE person_id = %(id)s
        """,
        {
            "id": person_id,
            "now": now,
            "billing_name": billing.billing_name,
            "company": billing.company,
            "siren": billing.siren,
            "vat_number": billing.vat_number,
            "street": billing.street,
            "postal_code": billing.postal_code,
            "city": billing.city,
            "country": billing.country,
        },
    )


async def close_driver(connection: AsyncConnection, person_id: int, now: datetime) -> bool:
    """The driver charges no more; False when she is none, or closed before."""
    cursor = await connection.execute(
        """
        UPDATE driver SET closed_at = %(now)s, updated_at = %(now)s
         WHERE person_id = %(id)s AND closed_at IS NULL
        """,
        {"id": person_id, "now": now},
    )
    return cursor.rowcount == 1


async def clients_of_driver(
    connection: AsyncConnection, person_id: int, now: datetime
) -> frozenset[int]:
    """The clients in a group of which the driver is, now or later."""
    async with connection.cursor(row_factory=scalar_row) as rows:
        await rows.execute(
            """
            SELECT DISTINCT g.client_id FROM group_member m JOIN driver_group g ON g.id = m.group_id
             WHERE m.person_id = %(id)s AND (m.to_at IS NULL OR m.to_at > %(now)s)
               AND g.retired_at IS NULL
            """,
            {"id": person_id, "now": now},
        )
        return frozenset(await rows.fetchall())


async def list_drivers(
    connection: AsyncConnection,
    now: datetime,
    *,
    person_id: int | None = None,
    group_id: int | None = None,
    client_id: int | None = None,
    search: str | None = None,
    limit: int = 1,
    cursor: Cursor | None = None,
) -> list[Driver]:
    """Up to `limit` drivers by id, closed ones too, with their groups and badges of now; who was
    erased only by her number. Managers see those who are, or were, in a group of their clients:
    row-level security leaves no other."""
    async with connection.cursor(row_factory=class_row(Driver)) as rows:
        await rows.execute(
            """
            SELECT p.id, p.email, p.given_name, p.family_name, p.phone, p.language,
                   p.email_verified_at IS NOT NULL AS email_verified,
                   CASE WHEN d.person_id IS NOT NULL THEN json_build_object(
                        'billing_name', d.billing_name, 'company', d.company, 'siren', d.siren,
                        'vat_number', d.vat_number, 'street', d.street,
                        'postal_code', d.postal_code, 'city', d.city, 'country', d.country)
                   END AS billing,
                   coalesce((SELECT json_agg(json_build_object(
                                    'id', g.id, 'name', g.name, 'client_id', g.client_id,
                                    'kind', g.kind, 'from_at', m.from_at, 'to_at', m.to_at)
                                    ORDER BY g.id, m.from_at)
                               FROM group_member m JOIN driver_group g ON g.id = m.group_id
                              WHERE m.person_id = p.id AND g.retired_at IS NULL
                                AND (m.to_at IS NULL OR m.to_at > %(now)s)), '[]') AS groups,
                   coalesce((SELECT json_agg(json_build_object(
                                    'uid', t.uid, 'type', t.type, 'status', t.status,
                                    'blocked_why', t.blocked_why, 'label', b.label,
                                    'valid_until', t.valid_until, 'from_at', b.from_at)
                                    ORDER BY b.from_at, t.uid)
                               FROM driver_badge b JOIN token t USING (token_key)
                              WHERE b.person_id = p.id AND b.from_at <= %(now)s
                                AND (b.to_at IS NULL OR b.to_at > %(now)s)
                                AND t.retired_at IS NULL AND t.type <> 'Central'), '[]') AS badges,
                   p.created_at, p.blocked_at, coalesce(p.closed_at, d.closed_at) AS closed_at
              FROM person p LEFT JOIN driver d ON d.person_id = p.id
             WHERE (p.erased_at IS NULL OR p.id = %(person_id)s)
               AND (d.person_id IS NOT NULL
                    OR EXISTS (SELECT FROM group_member m WHERE m.person_id = p.id))
               AND (%(person_id)s::bigint IS NULL OR p.id = %(person_id)s)
               AND (%(group_id)s::bigint IS NULL
                    OR EXISTS (SELECT FROM group_member m
                                WHERE m.person_id = p.id AND m.group_id = %(group_id)s
                                  AND (m.to_at IS NULL OR m.to_at > %(now)s)))
               AND (%(client_id)s::bigint IS NULL
                    OR EXISTS (SELECT FROM group_member m JOIN driver_group g ON g.id = m.group_id
                                WHERE m.person_id = p.id AND g.client_id = %(client_id)s
                                  AND (m.to_at IS NULL OR m.to_at > %(now)s)))
               AND (%(search)s::text IS NULL
                    OR strpos(lower(p.given_name || ' ' || p.family_name || ' '
                                    || coalesce(p.email, '')), lower(%(search)s)) > 0)
               AND (%(after)s::bigint IS NULL OR p.id > %(after)s)
             ORDER BY p.id LIMIT %(limit)s
            """,
            {
                "now": now,
                "person_id": person_id,
                "group_id": group_id,
                "client_id": client_id,
                "search": search,
                "limit": limit,
                "after": cursor.key[0] if cursor else None,
            },
            prepare=False,
        )
        return await rows.fetchall()


async def count_drivers(
    connection: AsyncConnection,
    now: datetime,
    *,
    group_id: int | None,
    client_id: int | None,
    search: str | None,
) -> int:
    """How many drivers the filters of `list_drivers` leave."""
    return await fetch_count(
        connection,
        """
        SELECT count(*) FROM person p LEFT JOIN driver d ON d.person_id = p.id
         WHERE p.erased_at IS NULL
           AND (d.person_id IS NOT NULL
                OR EXISTS (SELECT FROM group_member m WHERE m.person_id = p.id))
           AND (%(group_id)s::bigint IS NULL
                OR EXISTS (SELECT FROM group_member m
                            WHERE m.person_id = p.id AND m.group_id = %(group_id)s
                              AND (m.to_at IS NULL OR m.to_at > %(now)s)))
           AND (%(client_id)s::bigint IS NULL
                OR EXISTS (SELECT FROM group_member m JOIN driver_group g ON g.id = m.group_id
                            WHERE m.person_id = p.id AND g.client_id = %(client_id)s
                              AND (m.to_at IS NULL OR m.to_at > %(now)s)))
           AND (%(search)s::text IS NULL
                OR strpos(lower(p.given_name || ' ' || p.family_name || ' '
                                || coalesce(p.email, '')), lower(%(search)s)) > 0)
        """,
        {"now": now, "group_id": group_id, "client_id": client_id, "search": search},
    )
