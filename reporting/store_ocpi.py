"""SQL of partners over OCPI: who they are, their sites, tokens and what they were told."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from csms.store.paging import fetch_count


@dataclass(frozen=True, slots=True)
class PartnerRow:
    """A partner. `their_token` is sealed; person_id None: nobody is invoiced for roaming."""

    id: int
    slug: str
    name: str
    country_code: str
    party_id: str
    person_id: int | None
    is_invited: bool
    their_token: bytes | None
    versions_url: str | None
    endpoints: list[dict[str, str]]
    registered_at: datetime | None
    created_at: datetime
    created_by: str
    closed_at: datetime | None


@dataclass(frozen=True, slots=True)
class FeedRow:
    """A site that a partner is told of, from one moment on; to_at None: until further notice."""

    partner: str
    site_id: str
    client_id: int
    feed: str
    from_at: datetime
    to_at: datetime | None
    created_by: str
    ended_by: str | None


@dataclass(frozen=True, slots=True)
class ToldRow:
    """The newest that was made to be told of an object."""

    module: str
    object_id: str
    client_id: int
    parent_id: str | None
    content: dict[str, Any]
    at: datetime


@dataclass(frozen=True, slots=True)
class TokenRow:
    """A token that a partner told us of."""

    partner_id: int
    content: dict[str, Any]
    last_updated: datetime


# --- Partners -------------------------------------------------------------------------------------


async def list_partners(connection: AsyncConnection) -> list[PartnerRow]:
    """All that are not closed, by their short names."""
    async with connection.cursor(row_factory=class_row(PartnerRow)) as rows:
        await rows.execute(
            """
            SELECT id, slug, name, country_code, party_id, person_id,
                   invitation_sha256 IS NOT NULL AS is_invited, their_token, versions_url,
                   endpoints, registered_at, created_at, created_by, closed_at
              FROM ocpi_partner WHERE closed_at IS NULL ORDER BY slug
            """
        )
        return await rows.fetchall()


async def lock_partner(connection: AsyncConnection, slug: str) -> PartnerRow | None:
    """One that is not closed, until the transaction ends; None: there is none."""
    async with connection.cursor(row_factory=class_row(PartnerRow)) as rows:
        await rows.execute(
            """
            SELECT id, slug, name, country_code, party_id, person_id,
                   invitation_sha256 IS NOT NULL AS is_invited, their_token, versions_url,
                   endpoints, registered_at, created_at, created_by, closed_at
              FROM ocpi_partner WHERE slug = %s AND closed_at IS NULL FOR UPDATE
            """,
            (slug,),
        )
        return await rows.fetchone()


async def find_by_token(connection: AsyncConnection, sha256: bytes) -> PartnerRow | None:
    """Who proves itself with a token of this fingerprint: registered, or invited with it."""
    async with connection.cursor(row_factory=class_row(PartnerRow)) as rows:
        await rows.execute(
            """
            SELECT id, slug, name, country_code, party_id, person_id,
                   coalesce(invitation_sha256 = %(sha256)s, false) AS is_invited, their_token,
                   versions_url, endpoints, registered_at, created_at, created_by, closed_at
              FROM ocpi_partner
             WHERE closed_at IS NULL
               AND (our_sha256 = %(sha256)s OR invitation_sha256 = %(sha256)s)
            """,
            {"sha256": sha256},
        )
        return await rows.fetchone()


async def insert_partner(
    connection: AsyncConnection,
    *,
    slug: str,
    name: str,
    country_code: str,
    party_id: str,
    person_id: int | None,
    by: str,
    now: datetime,
) -> bool:
    """A new one; False when the short name was given before."""
    cursor = await connection.execute(
        """
        INSERT INTO ocpi_partner (slug, name, country_code, party_id, person_id, created_at,
                                  created_by)
        VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT (slug) DO NOTHING
        """,
        (slug, name, country_code, party_id, person_id, now, by),
    )
    return cursor.rowcount == 1


async def set_invitation(
    connection: AsyncConnection, partner_id: int, sha256: bytes | None
) -> None:
    """The token with which it may register; None: with none any more."""
    await connection.execute(
        "UPDATE ocpi_partner SET invitation_sha256 = %s WHERE id = %s", (sha256, partner_id)
    )


async def void_invitation(connection: AsyncConnection, partner_id: int, sha256: bytes) -> None:
    """The token registers nobody; another one that was given meanwhile stays."""
    await connection.execute(
        """
        UPDATE ocpi_partner SET invitation_sha256 = NULL
         WHERE id = %s AND invitation_sha256 = %s
        """,
        (partner_id, sha256),
    )


async def set_registered(
    connection: AsyncConnection,
    partner_id: int,
    *,
    our_sha256: bytes,
    their_token: bytes,
    versions_url: str,
    endpoints: Sequence[dict[str, str]],
    now: datetime,
) -> None:
    """It is registered from now on, with these tokens; an invitation is used up."""
    await connection.execute(
        """
        UPDATE ocpi_partner
           SET our_sha256 = %s, their_token = %s, versions_url = %s, endpoints = %s,
               registered_at = %s, invitation_sha256 = NULL
         WHERE id = %s
        """,
        (our_sha256, their_token, versions_url, Jsonb(list(endpoints)), now, partner_id),
    )


async def set_unregistered(
    connection: AsyncConnection, partner_id: int, closed_at: datetime | None
) -> None:
    """It is registered no more; closed_at: and never again under this name."""
    await connection.execute(
        """
        UPDATE ocpi_partner
           SET our_sha256 = NULL, their_token = NULL, registered_at = NULL,
               invitation_sha256 = NULL, closed_at = %s
         WHERE id = %s
        """,
        (closed_at, partner_id),
    )


# --- Sites ----------------------------------------------------------------------------------------


async def list_feeds(
    connection: AsyncConnection, *, partner_id: int | None = None, now: datetime | None = None
) -> list[FeedRow]:
    """Which sites partners are told of, by partner and site; with `now` those in force then."""
    async with connection.cursor(row_factory=class_row(FeedRow)) as rows:
        await rows.execute(
            """
            SELECT p.slug AS partner, o.site_id, s.client_id, o.feed, o.from_at, o.to_at,
                   o.created_by, o.ended_by
              FROM ocpi_site o JOIN ocpi_partner p ON p.id = o.partner_id
              JOIN site s ON s.id = o.site_id
             WHERE p.closed_at IS NULL
               AND (%(partner)s::bigint IS NULL OR o.partner_id = %(partner)s)
               AND (%(now)s::timestamptz IS NULL
                    OR (o.from_at <= %(now)s AND (o.to_at IS NULL OR o.to_at > %(now)s)))
             ORDER BY p.slug, o.site_id, o.feed, o.from_at
            """,
            {"partner": partner_id, "now": now},
        )
        return await rows.fetchall()


async def insert_feed(
    connection: AsyncConnection, partner_id: int, site_id: str, feed: str, by: str, now: datetime
) -> None:
    """Tell the partner of the site from now on. Raises: psycopg.errors.ExclusionViolation where it
    is told already; ForeignKeyViolation where there is no such site."""
    await connection.execute(
        """
        INSERT INTO ocpi_site (partner_id, site_id, feed, from_at, created_by)
        VALUES (%s, %s, %s, %s, %s)
        """,
        (partner_id, site_id, feed, now, by),
    )


async def end_feed(
    connection: AsyncConnection, partner_id: int, site_id: str, feed: str, by: str, now: datetime
) -> bool:
    """Tell it no more; False where it was not told."""
    cursor = await connection.execute(
        """
        UPDATE ocpi_site SET to_at = %s, ended_by = %s
         WHERE partner_id = %s AND site_id = %s AND feed = %s AND to_at IS NULL
        """,
        (now, by, partner_id, site_id, feed),
    )
    return cursor.rowcount == 1


async def list_roaming_sites(
    connection: AsyncConnection, now: datetime
) -> list[tuple[int, list[str]]]:
    """(partner, its sites) of registered partners whose drivers may charge somewhere."""
    cursor = await connection.execute(
        """
        SELECT p.id, array_agg(o.site_id ORDER BY o.site_id)
          FROM ocpi_partner p JOIN ocpi_site o ON o.partner_id = p.id
         WHERE p.closed_at IS NULL AND p.registered_at IS NOT NULL AND p.person_id IS NOT NULL
           AND o.feed = 'roaming' AND o.from_at <= %(now)s
           AND (o.to_at IS NULL OR o.to_at > %(now)s)
         GROUP BY p.id ORDER BY p.id
        """,
        {"now": now},
    )
    return await cursor.fetchall()


async def list_places(
    connection: AsyncConnection, partner_id: int, now: datetime
) -> list[dict[str, Any]]:
    """Sites that the partner is told of, each with its points that have an identifier."""
    cursor = await connection.execute(
        """
        SELECT jsonb_build_object(
                   'site_id', site.id, 'client_id', site.client_id, 'name', site.name,
                   'static', site.static, 'time_zone', site.time_zone,
                   'is_whole', EXISTS (
                       SELECT FROM ocpi_site o
                        WHERE o.partner_id = %(partner)s AND o.site_id = site.id
                          AND o.feed = 'advenir' AND o.from_at <= %(now)s
                          AND (o.to_at IS NULL OR o.to_at > %(now)s)),
                   'points', (
               SELECT coalesce(jsonb_agg(jsonb_build_object(
                          'station_key', e.station_key, 'evse_id', e.evse_id,
                          'evse_uid', e.evse_uid, 'power_w_max', e.power_w_max,
                          'station_static', t.static, 'evse_static', e.static,
                          'is_public', coalesce(e.public, t.public), 'status', e.status,
                          'is_connected', c.station_key IS NOT NULL AND c.disconnected_at IS NULL,
                          'connectors', (
                      SELECT coalesce(jsonb_agg(jsonb_build_object(
                                 'connector_id', k.connector_id, 'type', k.type,
                                 'power_w_max', k.power_w_max) ORDER BY k.connector_id), '[]')
                        FROM connector k
                       WHERE (k.station_key, k.evse_id) = (e.station_key, e.evse_id)))
                          ORDER BY e.evse_uid), '[]')
                 FROM station t JOIN evse e USING (station_key)
                 LEFT JOIN station_connection c USING (station_key)
                WHERE t.site_id = site.id AND t.retired_at IS NULL AND e.evse_uid IS NOT NULL))
          FROM site
         WHERE site.id IN (SELECT o.site_id FROM ocpi_site o
                            WHERE o.partner_id = %(partner)s AND o.from_at <= %(now)s
                              AND (o.to_at IS NULL OR o.to_at > %(now)s))
         ORDER BY site.id
        """,
        {"partner": partner_id, "now": now},
    )
    return [row[0] for row in await cursor.fetchall()]


async def list_statuses(
    connection: AsyncConnection, partner_id: int
) -> list[tuple[str, str, str, bool, str]]:
    """(evse_uid, its location, status, connected, status as told) of points that were told."""
    cursor = await connection.execute(
        """
        SELECT o.object_id, o.parent_id, e.status,
               c.station_key IS NOT NULL AND c.disconnected_at IS NULL, o.content ->> 'status'
          FROM ocpi_told o
          JOIN evse e ON e.evse_uid = o.object_id
          JOIN station s ON s.station_key = e.station_key AND s.retired_at IS NULL
          LEFT JOIN station_connection c ON c.station_key = e.station_key
         WHERE o.partner_id = %s AND o.module = 'evses'
         ORDER BY o.object_id
        """,
        (partner_id,),
    )
    return await cursor.fetchall()


# --- What was told --------------------------------------------------------------------------------


async def list_told(
    connection: AsyncConnection,
    partner_id: int,
    module: str,
    *,
    object_id: str | None = None,
    parent_ids: Sequence[str] | None = None,
    from_at: datetime | None = None,
    to_at: datetime | None = None,
    offset: int = 0,
    limit: int | None = None,
) -> list[ToldRow]:
    """Objects of a module, the longest unchanged first; from_at is in it, to_at is not."""
    async with connection.cursor(row_factory=class_row(ToldRow)) as rows:
        await rows.execute(
            """
            SELECT module, object_id, client_id, parent_id, content, at FROM ocpi_told
             WHERE partner_id = %(partner)s AND module = %(module)s
               AND (%(id)s::text IS NULL OR object_id = %(id)s)
               AND (%(parents)s::text[] IS NULL OR parent_id = ANY (%(parents)s))
               AND (%(from)s::timestamptz IS NULL OR at >= %(from)s)
               AND (%(to)s::timestamptz IS NULL OR at < %(to)s)
             ORDER BY at, object_id OFFSET %(offset)s LIMIT %(limit)s
            """,
            {
                "partner": partner_id,
                "module": module,
                "id": object_id,
                "parents": None if parent_ids is None else list(parent_ids),
                "from": from_at,
                "to": to_at,
                "offset": offset,
                "limit": limit,
            },
            prepare=False,
        )
        return await rows.fetchall()


async def count_told(
    connection: AsyncConnection,
    partner_id: int,
    module: str,
    from_at: datetime | None,
    to_at: datetime | None,
) -> int:
    """How many objects those times leave."""
    return await fetch_count(
        connection,
        """
        SELECT count(*) FROM ocpi_told
         WHERE partner_id = %(partner)s AND module = %(module)s
           AND (%(from)s::timestamptz IS NULL OR at >= %(from)s)
           AND (%(to)s::timestamptz IS NULL OR at < %(to)s)
        """,
        {"partner": partner_id, "module": module, "from": from_at, "to": to_at},
    )


async def write_told(connection: AsyncConnection, partner_id: int, rows: Sequence[ToldRow]) -> None:
    """Remember what is about to be told."""
    if not rows:
        return
    await connection.execute(
        """
        INSERT INTO ocpi_told (partner_id, module, object_id, client_id, parent_id, content, at)
        SELECT %s, n.* FROM unnest(%s::text[], %s::text[], %s::bigint[], %s::text[], %s::jsonb[],
                                   %s::timestamptz[]) AS n
        ON CONFLICT (partner_id, module, object_id) DO UPDATE
           SET client_id = excluded.client_id, parent_id = excluded.parent_id,
               content = excluded.content, at = excluded.at
        """,
        (
            partner_id,
            [row.module for row in rows],
            [row.object_id for row in rows],
            [row.client_id for row in rows],
            [row.parent_id for row in rows],
            [Jsonb(row.content) for row in rows],
            [row.at for row in rows],
        ),
    )


async def touch_places(
    connection: AsyncConnection,
    partner_id: int,
    location_ids: Collection[str | None],
    now: datetime,
) -> None:
    """Something of these places was told to have changed."""
    await connection.execute(
        """
        UPDATE ocpi_told SET at = %s
         WHERE partner_id = %s AND module = 'locations' AND object_id = ANY (%s)
        """,
        (now, partner_id, list(location_ids)),
    )


async def forget_told(
    connection: AsyncConnection, partner_id: int, module: str, object_ids: Sequence[str]
) -> None:
    """It is gone, and was told to be."""
    await connection.execute(
        "DELETE FROM ocpi_told WHERE partner_id = %s AND module = %s AND object_id = ANY (%s)",
        (partner_id, module, list(object_ids)),
    )


async def forget_places(connection: AsyncConnection, partner_id: int) -> None:
    """Whoever registers anew knows no places and no tariffs: they are told again. Sessions and CDRs
    are not: they would be there twice."""
    await connection.execute(
        """
        DELETE FROM ocpi_told
         WHERE partner_id = %s AND module IN ('locations', 'evses', 'tariffs')
        """,
        (partner_id,),
    )


# --- Tokens ---------------------------------------------------------------------------------------


async def write_token(
    connection: AsyncConnection,
    partner_id: int,
    content: dict[str, Any],
    last_updated: datetime,
    now: datetime,
) -> bool:
    """Keep a token as a partner tells it; False where something newer is known."""
    cursor = await connection.execute(
        """
        INSERT INTO ocpi_token AS t (partner_id, country_code, party_id, uid_key, type, content,
                                     last_updated, received_at)
        VALUES (%(partner)s, %(country)s, %(party)s, lower(%(uid)s), %(type)s, %(content)s,
                %(updated)s, %(now)s)
        ON CONFLICT (partner_id, country_code, party_id, uid_key, type) DO UPDATE
           SET content = excluded.content, last_updated = excluded.last_updated,
               received_at = excluded.received_at
         WHERE t.last_updated <= excluded.last_updated
        """,
        {
            "partner": partner_id,
            "country": content["country_code"].upper(),
            "party": content["party_id"].upper(),
            "uid": content["uid"],
            "type": content["type"],
            "content": Jsonb(content),
            "updated": last_updated,
            "now": now,
        },
    )
    return cursor.rowcount == 1


async def get_token(
    connection: AsyncConnection,
    partner_id: int,
    country_code: str,
    party_id: str,
    uid: str,
    token_type: str,
) -> dict[str, Any] | None:
    """A token as its partner told it; None: it did not."""
    cursor = await connection.execute(
        """
        SELECT content FROM ocpi_token
         WHERE partner_id = %s AND country_code = upper(%s) AND party_id = upper(%s)
           AND uid_key = lower(%s) AND type = %s
        """,
        (partner_id, country_code, party_id, uid, token_type),
    )
    row = await cursor.fetchone()
    return None if row is None else row[0]


async def find_tokens(
    connection: AsyncConnection, partner_ids: Sequence[int], uid_key: str
) -> list[TokenRow]:
    """What these partners told of a token, by partner, the newest first."""
    async with connection.cursor(row_factory=class_row(TokenRow)) as rows:
        await rows.execute(
            """
            SELECT partner_id, content, last_updated FROM ocpi_token
             WHERE partner_id = ANY (%s) AND uid_key = %s
             ORDER BY partner_id, last_updated DESC
            """,
            (list(partner_ids), uid_key),
        )
        return await rows.fetchall()


async def insert_grant(
    connection: AsyncConnection,
    *,
    partner_id: int,
    client_id: int,
    station_key: int,
    evse_id: int | None,
    uid_key: str,
    allowed: str,
    method: str,
    reference: str | None,
    token: dict[str, Any],
    at: datetime,
    valid_until: datetime,
) -> None:
    """What a partner said of a token."""
    await connection.execute(
        """
        INSERT INTO roaming_grant (partner_id, client_id, station_key, evse_id, uid_key, allowed,
                                   method, reference, token, at, valid_until)
        VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
        """,
        (
            partner_id,
            client_id,
            station_key,
            evse_id,
            uid_key,
            allowed,
            method,
            reference,
            Jsonb(token),
            at,
            valid_until,
        ),
    )


async def is_ours(connection: AsyncConnection, uid_key: str) -> bool:
    """Whether a badge of ours has this uid."""
    cursor = await connection.execute(
        "SELECT EXISTS (SELECT FROM token WHERE uid_key = %s AND retired_at IS NULL)", (uid_key,)
    )
    row = await cursor.fetchone()
    assert row is not None
    found: bool = row[0]
    return found


async def is_charging(connection: AsyncConnection, station_key: int, uid_key: str) -> bool:
    """Whether a session of the token runs at the station."""
    cursor = await connection.execute(
        """
        SELECT EXISTS (SELECT FROM session
                        WHERE station_key = %s AND state = 'active' AND lower(token_uid) = %s)
        """,
        (station_key, uid_key),
    )
    row = await cursor.fetchone()
    assert row is not None
    found: bool = row[0]
    return found


async def list_evse_uids(
    connection: AsyncConnection,
    station_key: int,
    evse_id: int | None,
    partner_ids: Sequence[int],
) -> list[str]:
    """Identifiers of a station's points, or of the one, that one of the partners was told of."""
    cursor = await connection.execute(
        """
        SELECT evse_uid FROM evse e
         WHERE station_key = %(station)s AND (%(evse)s::integer IS NULL OR evse_id = %(evse)s)
           AND EXISTS (SELECT FROM ocpi_told t
                        WHERE t.partner_id = ANY (%(partners)s) AND t.module = 'evses'
                          AND t.object_id = e.evse_uid)
         ORDER BY evse_id
        """,
        {"station": station_key, "evse": evse_id, "partners": list(partner_ids)},
    )
    return [row[0] for row in await cursor.fetchall()]
