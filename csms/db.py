"""The way into PostgreSQL: where it is, connections in UTC, transactions, migrations, locks.

Three roles. The owner (t2p_owner in the embedded server, the login of `database_owner_url`
elsewhere) owns every table and only migrates. t2p_service is what machines and operators work as:
row-level security lets it through. t2p_app is what requests of everybody else work as: it owns
nothing and sees no row but those of the person whom the transaction names (`acting`). The login is
t2p_app or a member of it, and becomes one of the two at connection (`RESET ROLE` leads back there,
not to the login); t2p_app inherits nothing, so that it is t2p_service by that word only.
"""

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable

import psycopg
from psycopg import AsyncConnection, sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout

from csms import timeseries
from csms.config import SettingError, Settings
from csms.embedded import APP, OWNER, SERVICE, EmbeddedServer

PACKAGES = ("csms", "billing", "reporting")
SERVER_VERSION_MIN = 150_000
_FILE_NAME = re.compile(r"(\d{4})_([a-z]+)_\w+\.sql")
_CONNECT_TIMEOUT_S = 10
_RECONNECT_TIMEOUT_S = 2.0


class MigrationError(SettingError):
    """The database cannot be brought to this version of the product, and why."""


@dataclass(frozen=True, slots=True)
class Database:
    """Where the database is: libpq connection strings (or URLs) of both roles."""

    owner_url: str
    app_url: str
    server: EmbeddedServer | None = None  # ours to start again when it dies; None: external


@dataclass(frozen=True, slots=True)
class Migration:
    """One file of `sql/`."""

    number: int
    name: str  # of the file
    text: str

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()


# Where it is, and connections.


@asynccontextmanager
async def open_database(settings: Settings) -> AsyncIterator[Database]:
    """The database of the settings. The embedded server, when there is no URL, is started or
    joined, and left on exit; the last one out stops it.

    Raises: SettingError when it cannot be started, or when a URL cannot be read.
    """
    if settings.database_url is not None:
        owner_url = settings.database_owner_url or settings.database_url
        _check_url("T2P_DATABASE_URL", settings.database_url)
        _check_url("T2P_DATABASE_OWNER_URL", owner_url)
        yield Database(owner_url=owner_url, app_url=settings.database_url)
        return
    server = EmbeddedServer(settings.data_dir)
    try:
        joining = asyncio.ensure_future(asyncio.to_thread(server.join))
        try:
            await asyncio.shield(joining)
        except asyncio.CancelledError:
            await asyncio.wait([joining])  # a thread cannot be cancelled; leave after it has joined
            raise
        yield Database(server.conninfo(OWNER), server.conninfo(APP), server)
    finally:
        await asyncio.to_thread(server.leave)


async def connect(
    database: Database, *, owner: bool = False, application_name: str = "time2plug"
) -> AsyncConnection:
    """A connection in autocommit and UTC, as t2p_service unless owner.

    Raises: psycopg.OperationalError.
    """
    role = None if owner else SERVICE
    conninfo = _conninfo(database, role=role, application_name=application_name)
    return await AsyncConnection.connect(conninfo, autocommit=True)


def raise_if_cancelled() -> None:
    """Raise the cancellation that is under way; for loops that use the database and go on for ever.

    One that comes while a query ends or its connection breaks can be lost in the driver.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


class Line:
    """One connection kept by a task of its own: opened when needed, dropped when it failed.

    Use as an asynchronous context manager; the connection is closed at its end.
    """

    def __init__(self, database: Database, application_name: str = "time2plug") -> None:
        self._database = database
        self._application_name = application_name
        self._connection: AsyncConnection | None = None

    async def __aenter__(self) -> "Line":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.drop()

    async def get(self) -> AsyncConnection:
        """The connection, opened anew if it is gone. Raises: psycopg.OperationalError."""
        if self._connection is None or self._connection.closed:
            self._connection = await connect(
                self._database, application_name=self._application_name
            )
        return self._connection

    async def drop(self) -> None:
        """Close the connection, whatever state it is in."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(psycopg.Error, OSError):
                await connection.close()


@asynccontextmanager
async def open_pool(
    database: Database, settings: Settings, *, role: str = SERVICE
) -> AsyncIterator[AsyncConnectionPool]:
    """Connections as `role` in autocommit and UTC; broken ones are replaced before they are lent.

    Raises: SettingError when the database cannot be reached at the start.
    """
    try:
        await (await connect(database)).close()  # told at once, where the pool would try again
    except psycopg.OperationalError as error:
        raise SettingError(f"The database cannot be reached: {error}") from error
    knocking: set[asyncio.Task[None]] = set()

    def knock(pool: AsyncConnectionPool) -> None:
        if not knocking:
            task = asyncio.create_task(_knock(pool))
            knocking.add(task)
            task.add_done_callback(knocking.discard)

    pool = AsyncConnectionPool(
        _conninfo(database, role=role, application_name=f"time2plug {settings.node}"),
        kwargs={"autocommit": True},
        min_size=1,
        max_size=settings.database_pool_max,
        timeout=settings.commit_timeout_s,
        # The pool's own attempts grow to minutes apart, and service shall resume at once: so each
        # is short, and the next begins when it has failed.
        reconnect_timeout=_RECONNECT_TIMEOUT_S,
        reconnect_failed=knock,
        check=AsyncConnectionPool.check_connection,
        open=False,
        name=settings.node,
    )
    async with pool:
        try:
            yield pool
        finally:
            for task in list(knocking):
                task.cancel()


async def _knock(pool: AsyncConnectionPool) -> None:
    """Ask for a connection again and again until there is one: a new borrower starts an attempt
    to connect where none is under way, those who wait already do not."""
    while True:
        try:
            async with pool.connection(timeout=_RECONNECT_TIMEOUT_S / 2):
                return
        except PoolTimeout:
            continue
        except PoolClosed:
            return


@asynccontextmanager
async def transaction(pool: AsyncConnectionPool) -> AsyncIterator[AsyncConnection]:
    """A connection with a transaction open: committed at the end, rolled back on any exception."""
    async with pool.connection() as connection, connection.transaction():
        yield connection


@asynccontextmanager
async def acting(
    people: AsyncConnectionPool, *, person_id: int | None = None, client_id: int | None = None
) -> AsyncIterator[AsyncConnection]:
    """A transaction of the people's pool (role t2p_app) that works for one person, or for the
    client of a machine's key: row-level security shows what is theirs; nothing without either."""
    async with people.connection() as connection, connection.transaction():
        await connection.execute(
            "SELECT set_config('t2p.person_id', %s, true), set_config('t2p.client_id', %s, true)",
            [
                "" if person_id is None else str(person_id),
                "" if client_id is None else str(client_id),
            ],
        )
        yield connection


def _check_url(name: str, url: str) -> None:
    """Raises: SettingError without the reason that libpq gives, which may hold the password."""
    try:
        conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        raise SettingError(
            f"{name} cannot be read: it takes postgresql://USER:PASSWORD@HOST:PORT/DATABASE"
        ) from None


def _conninfo(database: Database, *, role: str | None, application_name: str) -> str:
    """The role's connection string, with our session settings after the user's own; None: owner."""
    url = database.owner_url if role is None else database.app_url
    given = conninfo_to_dict(url)
    options = f"{given.get('options') or ''} -c timezone=UTC -c datestyle=ISO"
    if role is not None:
        options += f" -c role={role}"
    timeout_s = given.get("connect_timeout") or _CONNECT_TIMEOUT_S
    return make_conninfo(
        url,
        options=options.strip(),
        application_name=application_name,
        connect_timeout=timeout_s,
    )


# Locks.


def _lock_key(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big", signed=True)


async def hold_advisory_lock(connection: AsyncConnection, name: str) -> None:
    """Wait for the lock; held until the connection closes."""
    await connection.execute("SELECT pg_advisory_lock(%s)", [_lock_key(name)])


async def try_advisory_lock(connection: AsyncConnection, name: str) -> bool:
    """Take the lock, or say that another session holds it."""
    cursor = await connection.execute("SELECT pg_try_advisory_lock(%s)", [_lock_key(name)])
    row = await cursor.fetchone()
    return bool(row and row[0])


async def release_advisory_lock(connection: AsyncConnection, name: str) -> None:
    """Give the lock back before the connection closes."""
    await connection.execute("SELECT pg_advisory_unlock(%s)", [_lock_key(name)])


# Migrations.


async def migrate(database: Database, folders: Sequence[Traversable] | None = None) -> list[str]:
    """Bring the database to this version; returns the names of the migrations applied now.

    Each migration is one transaction; an advisory lock keeps other migrators waiting. Views are
    dropped before and rebuilt after, when anything changed. Then each `after.sql` runs, every time.
    folders: where the files are; None: the `sql` folders of our packages.

    Raises: MigrationError; psycopg.Error of a migration that fails, which leaves those before it.
    """
    folders = _own_folders() if folders is None else folders
    migrations = read_migrations(folders)
    views = _texts(folders, "views.sql")
    async with await connect(database, owner=True, application_name="migrate") as connection:
        await _prepare(connection)
        await prepare_roles(connection, database)
        await hold_advisory_lock(connection, "time2plug.migrate")
        await _create_bookkeeping(connection)
        pending = await _pending(connection, migrations)
        if pending:
            async with connection.transaction():
                await _drop_views(connection)
        for migration in pending:
            await _apply(connection, migration)
        if await _has_storage(connection):
            views.append(timeseries.views(await timeseries.settle(connection)))
        views_sha256 = hashlib.sha256("\0".join(views).encode()).hexdigest()
        cursor = await connection.execute("SELECT sha256 FROM schema_views")
        changed = bool(pending) or await cursor.fetchone() != (views_sha256,)
        if changed:
            async with connection.transaction():
                await _drop_views(connection)
                for text in views:
                    await _run_script(connection, text)
                await connection.execute("INSERT INTO schema_views VALUES (%s)", [views_sha256])
        for text in _texts(folders, "after.sql"):
            with suppress(
                psycopg.errors.LockNotAvailable
            ):  # a backup reads; maintenance will do it
                await _run_script(connection, text)
    return [migration.name for migration in pending]


async def missing_migrations(connection: AsyncConnection) -> list[str]:
    """Names of our migrations that the database lacks; for readiness, as any role.

    Raises: MigrationError when what it has is not what this version knows.
    """
    migrations = read_migrations(_own_folders())
    cursor = await connection.execute("SELECT to_regclass('schema_migration') IS NULL")
    if await cursor.fetchone() == (True,):
        return [migration.name for migration in migrations]
    return [migration.name for migration in await _pending(connection, migrations)]


def read_migrations(folders: Sequence[Traversable]) -> list[Migration]:
    """All migrations of the folders, in order.

    Raises: MigrationError for a gap, a number given twice, or a name of another form.
    """
    found = []
    for folder in folders:
        for path in folder.iterdir() if folder.is_dir() else ():
            if path.name.endswith(".sql") and path.name not in ("views.sql", "after.sql"):
                match = _FILE_NAME.fullmatch(path.name)
                if match is None or match[2] not in PACKAGES:
                    raise MigrationError(f"{path.name} is not named NNNN_<package>_<name>.sql")
                found.append(Migration(int(match[1]), path.name, path.read_text(encoding="utf-8")))
    found.sort(key=lambda migration: migration.number)
    for expected, migration in enumerate(found, start=1):
        if migration.number != expected:
            raise MigrationError(
                f"migrations are numbered 0001, 0002... over all packages: {migration.name} "
                f"stands where {expected:04} should"
            )
    return found


def _own_folders() -> list[Traversable]:
    return [files(package) / "sql" for package in PACKAGES]


def _texts(folders: Sequence[Traversable], name: str) -> list[str]:
    """The file of that name of every folder that has one."""
    paths = [folder / name for folder in folders]
    return [path.read_text(encoding="utf-8") for path in paths if path.is_file()]


async def _run_script(connection: AsyncConnection, text: str) -> None:
    """Several statements in one text, from our own files."""
    await connection.execute(text.encode())


async def _prepare(connection: AsyncConnection) -> None:
    """Server new enough, search path fixed."""
    if connection.info.server_version < SERVER_VERSION_MIN:
        version = connection.info.server_version // 10_000
        raise MigrationError(f"PostgreSQL 15 or newer is needed; the server is version {version}")
    # Fixed here because functions keep it (SET search_path FROM CURRENT); pg_temp last, so that no
    # temporary table can take the place of one of ours inside them.
    await connection.execute(
        "SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', false)"
    )


async def prepare_roles(connection: AsyncConnection, database: Database) -> None:
    """The application's roles are there, and the login of app_url may become them.

    Raises: MigrationError when the owner may not see to it.
    """
    login = conninfo_to_dict(database.app_url).get("user") or connection.info.user
    cursor = await connection.execute("SELECT rolname FROM pg_roles")
    found = {row[0] for row in await cursor.fetchall()}
    try:
        if APP not in found:
            with suppress(psycopg.errors.DuplicateObject, psycopg.errors.UniqueViolation):
                # Refused so when another node does it in this moment.
                await connection.execute("CREATE ROLE t2p_app NOLOGIN NOINHERIT")
        if SERVICE not in found:
            with suppress(psycopg.errors.DuplicateObject, psycopg.errors.UniqueViolation):
                await connection.execute("CREATE ROLE t2p_service NOLOGIN")
        await _grant_service(connection)
        await _grant_app(connection, str(login))
    except psycopg.errors.InsufficientPrivilege as error:
        raise MigrationError(
            f"the role {connection.info.user} may not set up the application's roles; let an "
            f"administrator run: CREATE ROLE {APP} NOLOGIN; ALTER ROLE {APP} NOINHERIT; "
            f"CREATE ROLE {SERVICE} NOLOGIN; GRANT {SERVICE} TO {APP}; "
            f'GRANT {APP} TO "{login}" (those that are there already may be left out)'
        ) from error


async def _grant_service(connection: AsyncConnection) -> None:
    """t2p_app may become t2p_service, by name only: what it inherited would lift the policies."""
    cursor = await connection.execute(
        """
        SELECT coalesce((to_jsonb(m) ->> 'inherit_option')::boolean, r.rolinherit)
          FROM pg_roles r JOIN pg_auth_members m ON m.member = r.oid
         WHERE r.rolname = %s AND m.roleid = %s::regrole
        """,
        [APP, SERVICE],
    )
    grants = [row[0] for row in await cursor.fetchall()]
    if grants and not any(grants):
        return
    if grants:
        await connection.execute("REVOKE t2p_service FROM t2p_app")
    await connection.execute("ALTER ROLE t2p_app NOINHERIT")
    await connection.execute("GRANT t2p_service TO t2p_app")


async def _grant_app(connection: AsyncConnection, login: str) -> None:
    """Make the login a member of t2p_app, unless it is or needs not be."""
    member = """
        SELECT r.rolsuper OR r.rolname = %(app)s OR EXISTS (
                   SELECT FROM pg_auth_members m
                    WHERE m.member = r.oid AND m.roleid = %(app)s::regrole
                      AND (to_jsonb(m) ->> 'set_option') IS DISTINCT FROM 'false')
          FROM pg_roles r WHERE r.rolname = %(login)s"""
    cursor = await connection.execute(member, {"app": APP, "login": login})
    row = await cursor.fetchone()
    if row is not None and not row[0]:
        await connection.execute(
            sql.SQL("GRANT {} TO {}").format(sql.Identifier(APP), sql.Identifier(login))
        )


async def _create_bookkeeping(connection: AsyncConnection) -> None:
    async with connection.transaction():
        await connection.execute("SET LOCAL client_min_messages = warning")
        await _run_script(
            connection,
            """
            CREATE TABLE IF NOT EXISTS schema_migration (
                number     integer PRIMARY KEY,
                name       text NOT NULL,
                sha256     text NOT NULL,
                applied_at timestamptz NOT NULL DEFAULT now()
            );
            CREATE TABLE IF NOT EXISTS schema_views (sha256 text NOT NULL);
            GRANT SELECT ON schema_migration TO t2p_service;
            """,
        )


async def _pending(connection: AsyncConnection, migrations: list[Migration]) -> list[Migration]:
    """Migrations not yet applied.

    Raises: MigrationError when an applied one is unknown here or has another text.
    """
    cursor = await connection.execute("SELECT number, name, sha256 FROM schema_migration")
    applied = {row[0]: row for row in await cursor.fetchall()}
    known = {migration.number: migration for migration in migrations}
    for number, name, sha256 in applied.values():
        if number not in known:
            raise MigrationError(
                f"the database has migration {name}, which this version does not know: "
                "it belongs to a newer version of the product"
            )
        if known[number].sha256 != sha256:
            raise MigrationError(
                f"{known[number].name} has another text than when it was applied: an applied "
                "migration is never changed, write a new one"
            )
    return [migration for migration in migrations if migration.number not in applied]


async def _apply(connection: AsyncConnection, migration: Migration) -> None:
    async with connection.transaction():
        await _run_script(connection, migration.text)
        await connection.execute(
            "INSERT INTO schema_migration (number, name, sha256) VALUES (%s, %s, %s)",
            [migration.number, migration.name, migration.sha256],
        )


async def _has_storage(connection: AsyncConnection) -> bool:
    """Whether the migrations have come to where csms.timeseries is asked."""
    cursor = await connection.execute("SELECT to_regclass('schema_storage') IS NOT NULL")
    return await cursor.fetchone() == (True,)


async def _drop_views(connection: AsyncConnection) -> None:
    """All views of our schema that no extension brought; and the note of what was built."""
    await connection.execute("DELETE FROM schema_views")
    cursor = await connection.execute(
        r"""SELECT c.relname FROM pg_class c
            WHERE c.relkind = 'v' AND c.relnamespace = current_schema()::regnamespace
              AND c.relname NOT LIKE '%%\_rollup'  -- continuous aggregates
              AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')"""
    )
    names = [sql.Identifier(row[0]) for row in await cursor.fetchall()]
    if names:
        await connection.execute(sql.SQL("DROP VIEW {}").format(sql.SQL(", ").join(names)))
