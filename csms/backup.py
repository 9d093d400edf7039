"""Backup of the whole database into one file, and back, through PostgreSQL's own programs.

A backup is one snapshot: everything committed when it began, so everything acknowledged until then,
and nothing of what came later; writers are not stopped. A restore is one transaction: the database
holds all of the backup, or what it held before. Both run as the owner; the rights of the
application's role come back with the tables.
"""

import asyncio
import contextlib
import os
import re
import secrets
import shutil
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Callable, Sequence
from pathlib import Path

from psycopg import AsyncConnection, sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from csms.config import SettingError
from csms.db import Database, connect, prepare_roles
from csms.postgres_tools import BUNDLED_VERSIONS, tool

Progress = Callable[[int], None]
"""Is told the bytes handled so far, several times a second. How many there will be is not known."""

_POLL_S = 0.2
_LEAVING_POLLS = 10
_CHUNK_BYTES = 256 * 1024
_ERROR_LINES = 12
# Held by every migrated database, however empty.
_ALWAYS_FILLED = (
    "client",
    "invoice_mention",
    "schema_migration",
    "schema_rollup",
    "schema_storage",
    "schema_views",
    "vat_rate",
    "legal_rate",
)

# In the transaction of the restore, before the backup's own statements.
_DROP_EVERYTHING = """
SET lock_timeout = '10s';
SET client_min_messages = warning;
DO $$
DECLARE
    relations text[] := ARRAY(
        SELECT format('DROP %s IF EXISTS %s CASCADE',
                      CASE c.relkind WHEN 'v' THEN 'VIEW' WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END,
                      c.oid::regclass)
          FROM pg_class c
         WHERE c.relnamespace = current_schema()::regnamespace
           AND c.relkind IN ('r', 'p', 'v', 'S') AND NOT c.relispartition
           AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')
         ORDER BY c.relkind = 'S', c.oid);
    routines text[] := ARRAY(
        SELECT format('DROP ROUTINE IF EXISTS %s CASCADE', p.oid::regprocedure)
          FROM pg_proc p
         WHERE p.pronamespace = current_schema()::regnamespace
           AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e'));
    statement text;
BEGIN
    FOREACH statement IN ARRAY relations || routines LOOP
        EXECUTE statement;
    END LOOP;
END $$;
"""


class BackupError(SettingError):
    """The backup or restore was not done, and why; what was there before is as it was."""


async def backup(database: Database, target: Path, *, progress: Progress | None = None) -> int:
    """Write a backup to the file, readable by its owner alone; returns its size in bytes.

    The file appears under its name when it is whole and on disk; an older one is replaced then.
    Raises: BackupError; psycopg.OperationalError when the database is away.
    """
    async with await connect(database, owner=True, application_name="backup") as connection:
        await _check_storage(connection)
        program = await _program(connection, "pg_dump")
    unfinished = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        arguments = ["--format=custom", "--compress=4", "--lock-wait-timeout=30s", "--no-sync"]
        arguments += ["--no-publications", "--no-subscriptions", f"--file={unfinished}"]
        process = await _start(program, arguments, database)
        await _finish(process, "The backup failed", lambda: _told(progress, unfinished))
        size_bytes = await asyncio.to_thread(_publish, unfinished, target)
    except OSError as error:
        raise BackupError(f"The backup failed: {error.strerror}: {error.filename}") from error
    finally:
        with contextlib.suppress(OSError):
            unfinished.unlink()
    if progress is not None:
        progress(size_bytes)
    return size_bytes


async def restore(
    database: Database, source: Path, *, force: bool = False, progress: Progress | None = None
) -> None:
    """Fill the database from a backup. force: what it holds now is replaced.

    Nobody else may be connected. Raises: BackupError when the file is no backup, when the database
    holds rows (without force) or is in use; psycopg.OperationalError when it is away.
    """
    async with await connect(database, owner=True, application_name="restore") as connection:
        reader, writer = [await _program(connection, name) for name in ("pg_restore", "psql")]
        await _check_archive(reader, source)
        await prepare_roles(connection, database)
        await _check_unused(connection)
        if not force:
            await _check_empty(connection)
    await _pour(reader, writer, source, database, progress)
    async with await connect(database, owner=True, application_name="restore") as connection:
        await connection.execute("ANALYZE")


# Before it begins.


async def _check_storage(connection: AsyncConnection) -> None:
    """Raises: BackupError where the tables are TimescaleDB's: its backups have rules of its own."""
    cursor = await connection.execute("SELECT to_regclass('schema_storage') IS NOT NULL")
    if await cursor.fetchone() != (True,):
        return
    cursor = await connection.execute("SELECT kind FROM schema_storage")
    if await cursor.fetchone() == ("timescale",):
        raise BackupError(
            "This database keeps its readings in TimescaleDB: back it up with pg_dump, and restore "
            "it between timescaledb_pre_restore() and timescaledb_post_restore(), as the "
            "documentation of TimescaleDB says."
        )


async def _program(connection: AsyncConnection, name: str) -> Path:
    """The program in a version that understands the server.

    Raises: BackupError when there is none.
    """
    major = connection.info.server_version // 10_000
    # The bundled programs are built without TLS: they would speak to the server in clear.
    if not connection.pgconn.ssl_in_use:
        for version in BUNDLED_VERSIONS:
            if version >= major:
                return tool(name, version)
    installed = shutil.which(name)
    if installed is not None:
        process = await asyncio.create_subprocess_exec(
            installed, "--version", stdin=DEVNULL, stdout=PIPE
        )
        output, _ = await process.communicate()
        found = re.search(rb"\) (\d+)", output)
        if found is not None and int(found[1]) >= major:
            return Path(installed)
    raise BackupError(
        f"A {name} of version {major} or newer is needed for this server, with TLS where the "
        "server is reached so: install the PostgreSQL client programs"
    )


async def _check_archive(reader: Path, source: Path) -> None:
    if not await asyncio.to_thread(source.is_file):
        raise BackupError(f"There is no file {source}")
    process = await asyncio.create_subprocess_exec(
        str(reader), "--list", str(source), stdin=DEVNULL, stdout=PIPE, stderr=PIPE
    )
    output, errors = await process.communicate()
    if process.returncode or b" TABLE " not in output:
        raise BackupError(f"{source} is not a backup that can be read{_tail(errors)}")


async def _check_unused(connection: AsyncConnection) -> None:
    """Nobody else is connected; who has just left gets a moment to be gone."""
    for _ in range(_LEAVING_POLLS):
        cursor = await connection.execute(
            """SELECT count(*) FROM pg_stat_activity
                WHERE datname = current_database() AND pid <> pg_backend_pid()
                  AND usesysid IS NOT NULL"""
        )
        row = await cursor.fetchone()
        others = row[0] if row else 0
        if not others:
            return
        await asyncio.sleep(_POLL_S)
    raise BackupError(f"The database is in use (connections: {others}): stop the server first")


async def _check_empty(connection: AsyncConnection) -> None:
    cursor = await connection.execute(
        """SELECT relname FROM pg_class c
            WHERE relnamespace = current_schema()::regnamespace
              AND relkind IN ('r', 'p') AND NOT relispartition
              AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')"""
    )
    for (table,) in await cursor.fetchall():
        found = await connection.execute(
            sql.SQL("SELECT EXISTS (SELECT FROM {})").format(sql.Identifier(table))
        )
        if table not in _ALWAYS_FILLED and await found.fetchone() == (True,):
            raise BackupError(
                f"The database is not empty: there are rows in {table}. A restore replaces all "
                "that is there; say so with --force"
            )


# Running the programs.


async def _start(
    program: Path, arguments: Sequence[str], database: Database, **pipes: int
) -> Process:
    """The program on the database as the owner; the password never stands in its arguments."""
    given = conninfo_to_dict(database.owner_url)
    password = given.pop("password", None)
    environment = {**os.environ, "PGAPPNAME": program.name, "PGOPTIONS": ""}
    if password is not None:
        environment["PGPASSWORD"] = str(password)
    return await asyncio.create_subprocess_exec(
        str(program),
        "--no-password",
        f"--dbname={make_conninfo('', **given)}",
        *arguments,
        stdin=pipes.get("stdin", DEVNULL),
        stdout=DEVNULL,
        stderr=PIPE,
        env=environment,
    )


async def _finish(process: Process, failure: str, tell: Callable[[], None]) -> None:
    """Wait for the end. Cancelled, or failing here, we take the program with us.

    Raises: BackupError with the program's own words.
    """
    errors = _complaints(process)
    try:
        while not (await asyncio.wait([errors], timeout=_POLL_S))[0]:
            tell()
        code = await process.wait()
    finally:
        await _end(process)
    if code:
        raise BackupError(f"{failure}{_tail(errors.result())}")


async def _pour(
    reader: Path, writer: Path, source: Path, database: Database, progress: Progress | None
) -> None:
    """The backup as SQL into one transaction of psql.

    psql commits when its input ends. So its input ends only after the reader has ended well;
    otherwise it is killed, and the server rolls back.
    """
    reading = await asyncio.create_subprocess_exec(
        *(str(reader), "--no-owner", "--file=-", str(source)),
        stdin=DEVNULL,
        stdout=PIPE,
        stderr=PIPE,
    )
    whole = False
    try:
        arguments = ["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--single-transaction"]
        writing = await _start(writer, [*arguments, "--file=-"], database, stdin=PIPE)
        complaints = [_complaints(reading), _complaints(writing)]
        try:
            whole = await _copy(reading, writing, progress)
            if whole:
                assert writing.stdin is not None
                writing.stdin.close()
                await writing.wait()
        finally:
            await _end(writing)
    finally:
        await _end(reading)
    of_reader, of_writer = [await complaint for complaint in complaints]
    if not whole or writing.returncode:
        # Who was killed by us has nothing to say; who stopped by itself says why.
        raise BackupError(
            "The restore failed, the database is as it was" + _tail(of_writer or of_reader)
        )


def _complaints(process: Process) -> asyncio.Future[bytes]:
    """What the program says is wrong, read while it runs so that it never waits for us."""
    assert process.stderr is not None
    return asyncio.ensure_future(process.stderr.read())


async def _copy(reading: Process, writing: Process, progress: Progress | None) -> bool:
    """All of the reader's output to the writer; True when it is all, and the reader content."""
    assert reading.stdout is not None and writing.stdin is not None
    handled_bytes = 0
    try:
        writing.stdin.write(_DROP_EVERYTHING.encode())
        while chunk := await reading.stdout.read(_CHUNK_BYTES):
            writing.stdin.write(chunk)
            await writing.stdin.drain()
            handled_bytes += len(chunk)
            if progress is not None:
                progress(handled_bytes)
    except (BrokenPipeError, ConnectionResetError):
        await writing.wait()  # it has stopped at an error, and says which
        return False
    return await reading.wait() == 0


async def _end(process: Process) -> None:
    """Kill what still runs, and reap it."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
    if process.stdout is not None:
        while await process.stdout.read(_CHUNK_BYTES):
            pass  # to the end of the pipe, which closes it
    await process.wait()


# The file.


def _told(progress: Progress | None, path: Path) -> None:
    if progress is not None:
        progress(path.stat().st_size)


def _publish(unfinished: Path, target: Path) -> int:
    """Onto the disk, then under its name: never half a backup under a good name."""
    with unfinished.open("rb") as file:
        os.fsync(file.fileno())
        size_bytes = os.fstat(file.fileno()).st_size
    unfinished.replace(target)
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return size_bytes


def _tail(output: bytes) -> str:
    """The last lines of what a program complained of, to be put after a sentence."""
    lines = output.decode(errors="replace").strip().splitlines()[-_ERROR_LINES:]
    return "".join(f"\n  {line}" for line in lines)
