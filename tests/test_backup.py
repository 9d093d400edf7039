"""Backup and restore of databases in use, full and empty, good and bad."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psycopg
import pytest

from csms.backup import BackupError, backup, restore
from csms.db import Database, connect, migrate

pytestmark = pytest.mark.native  # with TimescaleDB's tables it refuses
FILL = (Path(__file__).parent / "data" / "every_table.sql").read_text(encoding="utf-8")


async def contents(database: Database) -> dict[str, list[object]]:
    """All rows of all our tables, months and defaults apart."""
    async with await connect(database, owner=True) as connection:
        cursor = await connection.execute(
            """SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace
                AND relkind = 'r' ORDER BY relname"""
        )
        found = {}
        for (table,) in await cursor.fetchall():
            rows = await connection.execute(
                f"SELECT to_jsonb(t) FROM {table} t ORDER BY to_jsonb(t)::text".encode()
            )
            found[table] = [row[0] for row in await rows.fetchall()]
        return found


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def rights(database: Database) -> list[object]:
    """What is granted on every table, sequence and function, and who owns it."""
    async with await connect(database, owner=True) as connection:
        cursor = await connection.execute(
            """SELECT relname::text, relowner::regrole::text, relacl::text FROM pg_class
                WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'S')
               UNION ALL
               SELECT oid::regprocedure::text, proowner::regrole::text, proacl::text FROM pg_proc
                WHERE pronamespace = 'public'::regnamespace
                ORDER BY 1"""
        )
        return list(await cursor.fetchall())


@asynccontextmanager
async def writing(database: Database) -> AsyncIterator[list[int]]:
    """Sessions started one after another all the while; the numbers whose commit is confirmed."""
    confirmed: list[int] = []
    some = asyncio.Event()

    async def write() -> None:
        async with await connect(database) as connection:
            for number in range(1_000_001, 2_000_000):
                await connection.execute(
                    """INSERT INTO session (id, client_id, station_key, start_key, transaction_id,
                           authorization_status, state, started_at)
                       SELECT %(id)s, client_id, station_key, %(key)s, '1', 'accepted', 'active',
                              now() FROM station LIMIT 1""",
                    {"id": number, "key": f"load {number}"},
                )
                confirmed.append(number)
                if number == 1_000_050:
                    some.set()

    task = asyncio.ensure_future(write())
    try:
        await asyncio.wait_for(some.wait(), timeout=30)
        yield confirmed
        assert not task.done(), "it wrote on all the while"
    finally:
        task.cancel()
        await asyncio.wait([task])


async def fill(database: Database) -> None:
    async with await connect(database) as connection:
        await connection.execute(FILL.encode())


async def test_a_backup_under_load_holds_all_that_was_acknowledged_before_it(
    database: Database, empty_database: Database, tmp_path: Path
) -> None:
    await fill(database)
    async with await connect(database) as connection:  # enough of it that writers get between
        await connection.execute(
            """INSERT INTO ocpp_message (at, station_key, direction, protocol, frame)
               SELECT now() - n * interval '1 s', 1, 'in', 'ocpp1.6',
                      md5(n::text) || repeat('x', 200)
                 FROM generate_series(1, 100000) n"""
        )
    async with writing(database) as confirmed:
        before = list(confirmed)
        await backup(database, tmp_path / "t2p.backup")
        assert len(confirmed) > len(before), "writers were not stopped"
    await restore(empty_database, tmp_path / "t2p.backup")
    async with await connect(empty_database) as connection:
        cursor = await connection.execute(
            "SELECT id FROM session WHERE start_key LIKE 'load%' ORDER BY id"
        )
        kept = [row[0] for row in await cursor.fetchall()]
        assert kept[: len(before)] == before
        assert kept == list(range(1_000_001, 1_000_001 + len(kept))), (
            "one moment: no gap among what it holds"
        )
        cursor = await connection.execute("SELECT count(*) FROM ocpp_message")
        assert await cursor.fetchone() == (100_001,)


async def test_a_restored_database_is_the_same_and_works_on(
    database: Database, empty_database: Database, tmp_path: Path
) -> None:
    await fill(database)
    told: list[int] = []
    size_bytes = await backup(database, tmp_path / "t2p.backup", progress=told.append)
    assert (tmp_path / "t2p.backup").stat().st_size == size_bytes == told[-1]
    assert (tmp_path / "t2p.backup").stat().st_mode & 0o777 == 0o600
    assert names_in(tmp_path) == ["t2p.backup"]
    told.clear()
    await restore(empty_database, tmp_path / "t2p.backup", progress=told.append)
    assert told == sorted(told) and told[-1] > 0
    assert await contents(empty_database) == await contents(database)
    assert await rights(empty_database) == await rights(database)
    assert await migrate(empty_database) == []
    async with await connect(empty_database) as connection:
        cursor = await connection.execute("SELECT nextval('session_block_seq')")
        assert await cursor.fetchone() == (2,), "session ids go on where they were"
        await connection.execute("INSERT INTO client (name) VALUES ('one more')")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await connection.execute("DELETE FROM session_event")
        await connection.execute("SELECT ensure_month('ocpp_message', '2040-01-01')")


async def test_a_database_with_rows_is_replaced_only_when_told_so(
    database: Database, empty_database: Database, tmp_path: Path
) -> None:
    await backup(database, tmp_path / "empty.backup")
    await migrate(empty_database)
    await restore(empty_database, tmp_path / "empty.backup")  # migrated, but without rows
    await fill(empty_database)
    before = await contents(empty_database)
    with pytest.raises(BackupError, match=r"rows in \w+.*--force"):
        await restore(empty_database, tmp_path / "empty.backup")
    assert await contents(empty_database) == before
    await restore(empty_database, tmp_path / "empty.backup", force=True)
    assert await contents(empty_database) == await contents(database)
    assert await rights(empty_database) == await rights(database)


async def test_a_damaged_backup_changes_nothing(
    database: Database, empty_database: Database, tmp_path: Path
) -> None:
    await fill(database)
    path = tmp_path / "t2p.backup"
    async with await connect(database) as connection:
        await connection.execute(
            """INSERT INTO ocpp_message (at, station_key, direction, protocol, frame)
               SELECT now(), 1, 'in', 'ocpp1.6', md5(n::text) FROM generate_series(1, 50000) n"""
        )
    await backup(database, path)
    before = await contents(database)
    path.write_bytes(path.read_bytes()[:-400_000])  # the list of contents stands at the front
    with pytest.raises(BackupError, match=r"as it was\n  pg_restore: error"):
        await restore(database, path, force=True)
    assert await contents(database) == before
    path.write_bytes(b"PGDMP and nothing else")
    with pytest.raises(BackupError, match="is not a backup"):
        await restore(empty_database, path)
    with pytest.raises(BackupError, match="There is no file"):
        await restore(empty_database, tmp_path / "elsewhere")
    assert await contents(empty_database) == {}


async def test_a_database_in_use_is_not_restored(database: Database, tmp_path: Path) -> None:
    await backup(database, tmp_path / "t2p.backup")
    async with await connect(database):
        with pytest.raises(BackupError, match=r"in use .connections: 1"):
            await restore(database, tmp_path / "t2p.backup", force=True)


async def test_a_backup_that_cannot_be_written_leaves_the_old_one(
    database: Database, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BackupError, match="The backup failed"):
        await backup(database, tmp_path / "file" / "t2p.backup")
    path = tmp_path / "t2p.backup"
    path.write_text("the old one")
    async with await connect(database, owner=True) as connection:
        await connection.execute("CREATE TABLE broken (id int)")
        await connection.execute("ALTER TABLE broken OWNER TO t2p_owner")
        await connection.execute("REVOKE ALL ON broken FROM t2p_owner")
    with pytest.raises(BackupError, match=r"The backup failed\n  pg_dump: error(.|\n)*broken"):
        await backup(database, path)
    assert path.read_text() == "the old one"
    assert names_in(tmp_path) == ["file", "t2p.backup"]


async def test_the_password_stands_in_no_command_line(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, ...]] = []
    start = asyncio.create_subprocess_exec

    async def watch(*command: str, **options: object) -> asyncio.subprocess.Process:
        seen.append(command)
        return await start(*command, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(asyncio, "create_subprocess_exec", watch)
    given = psycopg.conninfo.conninfo_to_dict(database.owner_url)
    secret = str(given.get("password") or "correct horse")
    url = psycopg.conninfo.make_conninfo(database.owner_url, password=secret)
    await backup(Database(url, database.app_url), tmp_path / "t2p.backup")
    assert seen and not any(secret in word for command in seen for word in command)
