"""SQL of failures to log in: counted by digests, admitted one after the other."""

from datetime import datetime, timedelta

from psycopg import AsyncConnection


async def count_attempt(
    connection: AsyncConnection,
    key_sha256: bytes,
    now: datetime,
    *,
    free: int,
    wait_s: float,
    wait_max_s: float,
    kept: timedelta,
) -> int | None:
    """Count an attempt before it is made, as if it failed: how many that makes; None when it has
    to wait. The first `free` are let through at once, each later one `wait_s` after the one
    before, twice as long each time, `wait_max_s` at most; after `kept` all is forgotten.

    One statement, so that attempts at once, on whatever node, are let through one by one.
    """
    cursor = await connection.execute(
        """
        INSERT INTO login_failure AS f (key_sha256, count, first_at, last_at)
        VALUES (%(key)s, 1, %(now)s, %(now)s)
        ON CONFLICT (key_sha256) DO UPDATE
           SET count = CASE WHEN f.last_at <= %(now)s - %(kept)s THEN 1 ELSE f.count + 1 END,
               first_at = CASE WHEN f.last_at <= %(now)s - %(kept)s THEN %(now)s
                               ELSE f.first_at END,
               last_at = %(now)s
         WHERE f.last_at <= %(now)s - %(kept)s OR f.count < %(free)s
            OR f.last_at + make_interval(secs => least(%(wait_max_s)s::float8,
                    %(wait_s)s::float8 * 2 ^ least(f.count - %(free)s, 30))) <= %(now)s
        RETURNING count
        """,
        {
            "key": key_sha256,
            "now": now,
            "free": free,
            "wait_s": wait_s,
            "wait_max_s": wait_max_s,
            "kept": kept,
        },
    )
    row = await cursor.fetchone()
    return row[0] if row else None


async def get_failures(
    connection: AsyncConnection, key_sha256: bytes
) -> tuple[int, datetime] | None:
    """How many there were, and the last one's time."""
    cursor = await connection.execute(
        "SELECT count, last_at FROM login_failure WHERE key_sha256 = %s", (key_sha256,)
    )
    row = await cursor.fetchone()
    return (row[0], row[1]) if row else None


async def forget_failures(connection: AsyncConnection, keys_sha256: list[bytes]) -> None:
    """Forget all failures under these keys."""
    await connection.execute(
        "DELETE FROM login_failure WHERE key_sha256 = ANY (%s)", (keys_sha256,)
    )


async def take_back_attempt(connection: AsyncConnection, keys_sha256: list[bytes]) -> None:
    """An attempt that was counted under these keys has not failed."""
    await connection.execute(
        """
        UPDATE login_failure SET count = count - 1 WHERE key_sha256 = ANY (%s) AND count > 0
        """,
        (keys_sha256,),
    )


async def forget_old_failures(connection: AsyncConnection, before: datetime) -> int:
    """Delete what last happened before then; how many."""
    cursor = await connection.execute("DELETE FROM login_failure WHERE last_at < %s", (before,))
    return cursor.rowcount
