"""Stations and badges of a run, and the count of what the database holds in the end."""

import hashlib
import secrets
from typing import NamedTuple

from psycopg import AsyncConnection

from simulators.bench.processes import BenchError


def identities(prefix: str, stations: int) -> list[str]:
    """Identities as the load generator makes them."""
    return [f"{prefix}{number:05d}" for number in range(stations)]


async def add_stations(
    connection: AsyncConnection, prefix: str, stations: int, password: str | None = None
) -> None:
    """Stations of that prefix, and a badge for each, which has the station's name.

    password: `{id}` in it stands for the identity; None: security profile 0, no password.
    """
    ids = identities(prefix, stations)
    hashes = [None if password is None else _hashed(password.replace("{id}", id)) for id in ids]
    await insert_stations(connection, ids, 0 if password is None else 1, hashes)
    await insert_tokens(connection, ids)


def _hashed(password: str) -> str:
    """The form in which the product keeps passwords that it has generated itself."""
    salt = secrets.token_bytes(16)
    return f"fast${salt.hex()}${hashlib.sha256(salt + password.encode()).hexdigest()}"


async def insert_stations(
    connection: AsyncConnection, ids: list[str], profile: int, hashes: list[str | None]
) -> None:
    """Known stations; ids and hashes in the same order."""
    await connection.execute(
        """
        INSERT INTO station (id, security_profile, password_hash)
        SELECT s.id, %s, s.password_hash
          FROM unnest(%s::text[], %s::text[]) AS s (id, password_hash)
        """,
        (profile, ids, hashes),
    )


async def insert_tokens(connection: AsyncConnection, ids: list[str]) -> None:
    """Badges that may charge."""
    await connection.execute(
        "INSERT INTO token (uid_key, uid) SELECT lower(u), u FROM unnest(%s::text[]) AS t (u)",
        (ids,),
    )


class Kept(NamedTuple):
    """What the database holds of the stations of one prefix."""

    values: int  # sampled values, each a row of the view
    messages: int  # messages with sampled values in the journal, with their answers
    sessions: int
    accepted: int  # sessions whose badge was looked up and accepted
    ended: int


async def count_kept(connection: AsyncConnection, prefix: str) -> Kept:
    """Count by SQL, through what anybody would query.

    Raises: psycopg.Error.
    """
    cursor = await connection.execute(
        """
        SELECT (SELECT count(value) FROM meter_value
                 WHERE starts_with(station_id, %(prefix)s) AND context = 'Sample.Periodic'),
               (SELECT count(*) FROM ocpp_message m JOIN station s USING (station_key)
                 WHERE starts_with(s.id, %(prefix)s) AND m.direction = 'in'
                   AND m.answer LIKE '[3,%%' AND m.frame LIKE '%%Sample.Periodic%%'),
               count(*),
               count(*) FILTER (WHERE authorization_status = 'Accepted'),
               count(*) FILTER (WHERE state = 'ended')
          FROM session JOIN station USING (station_key)
         WHERE starts_with(station.id, %(prefix)s)
        """,
        {"prefix": prefix},
    )
    row = await cursor.fetchone()
    assert row is not None
    return Kept(*row)


def check_kept(kept: Kept, answered: int, sessions: int) -> None:
    """Compare what the database holds with what the stations had answered.

    Raises: BenchError when one value, message or session is missing or too many.
    """
    expected = Kept(8 * answered, answered, sessions, sessions, sessions)
    if kept != expected:
        raise BenchError(f"the database holds {kept}, answered was {expected}")
