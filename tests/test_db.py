"""Connections, migrations, roles and locks on a real PostgreSQL."""

import asyncio
import shutil
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg_pool import AsyncConnectionPool

from csms.config import SettingError, Settings
from csms.db import (
    Database,
    MigrationError,
    connect,
    hold_advisory_lock,
    migrate,
    missing_migrations,
    open_database,
    open_pool,
    transaction,
    try_advisory_lock,
)
from csms.embedded import SERVICE, SUPERUSER
from tests.conftest import Server

ROOT = Path(__file__).parent.parent
FILL = (Path(__file__).parent / "data" / "every_table.sql").read_text(encoding="utf-8")

# Tables that hold no client's data, each with the reason.
NOBODYS = {
    "meter_profile": "what a sampled value is: measurand, phase, unit",
    "quirk": "faults of a make, not of a station",
    "refused_connection": "identities that belong to nobody here",
    "api_key": "the operator's own machines, or with client_id a client's",
    "data_request": "whoever asks, with person_id where he has an account",
    "retention_run": "our own bookkeeping",
    "bank_line": "the operator's accounts; whoever paid",
    "bank_match": "the operator's bookkeeping",
    "bank_statement": "the operator's accounts",
    "outlet": "our own bookkeeping",
    "ocpi_partner": "whom the operator speaks OCPI with",
    "ocpi_site": "by its site, which may move to another client",
    "ocpi_token": "drivers of a partner's, nobody's here",
    "internal_transfer": "between the operator's accounts",
    "payment_file": "payments of many, as the bank was given them",
    "sepa_mandate": "a driver's, or with client_id a client's",
    "billing_problem": "what stopped our own work; with client_id where it is a client's",
    "invoice_mention": "texts of the law",
    "invoice_series": "a client's, or with null the operator's own",
    "ledger_account": "the operator's books, of clients and drivers where they say so",
    "ledger_chain": "the operator's books: the key is a client, or 0",
    "ledger_closing": "the operator's books: the key is a client, or 0",
    "ledger_entry": "the operator's books; with client_id where it is a client's money",
    "ledger_posting": "the operator's books, by its entry",
    "provider_webhook": "what was posted in a provider's name; perhaps by nobody of ours",
    "platform_file": "a client's, or with null the operator's own",
    "vat_rate": "the law's",
    "legal_rate": "the law's",
    "audit_entry": "whoever acted; with client_id and person_id where it concerns one",
    "login_failure": "digests of places and addresses, nobody's",
    "node": "our own processes",
    "schema_migration": "the migrator's",
    "schema_rollup": "our own bookkeeping",
    "schema_storage": "the migrator's",
    "schema_views": "the migrator's",
}


async def values(connection: psycopg.AsyncConnection, statement: str) -> list[object]:
    """First column of all rows."""
    cursor = await connection.execute(statement.encode())
    return [row[0] for row in await cursor.fetchall()]


async def tables(connection: psycopg.AsyncConnection) -> list[str]:
    """All our tables but the single months."""
    return [
        str(name)
        for name in await values(
            connection,
            """SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace
                AND relkind IN ('r', 'p') AND NOT relispartition ORDER BY relname""",
        )
    ]


@pytest.fixture
def own_folder(tmp_path: Path) -> Path:
    """A copy of all our migrations, to add to and to tamper with."""
    folder = tmp_path / "sql"
    folder.mkdir()
    for package in ("csms", "billing", "reporting"):
        for path in sorted((ROOT / package / "sql").glob("[0-9]*.sql")):
            shutil.copy(path, folder)
        for name in ("views.sql", "after.sql"):
            path = ROOT / package / "sql" / name
            if path.exists():
                with (folder / name).open("a", encoding="utf-8") as file:
                    file.write(path.read_text(encoding="utf-8"))
    return folder


def add_migration(folder: Path, text: str, *, after: int = 1) -> str:
    """Write the next migration, or one that leaves a gap; returns its name."""
    last = max(int(path.name[:4]) for path in folder.glob("[0-9]*.sql"))
    name = f"{last + after:04}_csms_of_a_test.sql"
    (folder / name).write_text(text, encoding="utf-8")
    return name


# Connections.


async def test_machines_run_as_their_own_role_in_utc(database: Database) -> None:
    async with await connect(database) as connection:
        await connection.execute("RESET ROLE")
        cursor = await connection.execute("SELECT current_user, current_setting('timezone')")
        assert await cursor.fetchone() == (SERVICE, "UTC")


async def test_a_login_of_another_name_becomes_the_application_and_stays_it(
    empty_database: Database, administrator: psycopg.Connection, server: Server
) -> None:
    login = "someone"
    app = conninfo_to_dict(empty_database.app_url)
    administrator.execute(
        sql.SQL("CREATE ROLE {} LOGIN CREATEROLE PASSWORD {}").format(
            sql.Identifier(login), app.get("password")
        )
    )
    try:
        administrator.execute("GRANT t2p_app TO someone WITH ADMIN OPTION")
        administrator.execute("REVOKE t2p_app FROM someone")
        with pytest.raises(MigrationError, match="GRANT t2p_app TO"):
            await migrate(
                Database(
                    empty_database.owner_url,
                    make_conninfo(empty_database.app_url, user=login),
                )
            )
        administrator.execute("GRANT t2p_app TO someone")
        external = Database(
            empty_database.owner_url, make_conninfo(empty_database.app_url, user=login)
        )
        await migrate(external)
        async with await connect(external) as connection:
            await connection.execute("SET ROLE t2p_app")
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                await connection.execute("SELECT count(*) FROM api_key")
            await connection.execute("RESET ROLE")
            assert await values(connection, "SELECT session_user || ' as ' || current_user") == [
                "someone as t2p_service"
            ]
    finally:
        with psycopg.connect(
            server.conninfo(SUPERUSER, str(app["dbname"])), autocommit=True
        ) as in_the_database:
            in_the_database.execute("DROP OWNED BY someone")
        administrator.execute("DROP ROLE someone")


async def test_options_in_the_url_are_kept(database: Database) -> None:
    url = make_conninfo(
        database.app_url, options="-c statement_timeout=1234 -c timezone=Asia/Tokyo"
    )
    async with await connect(Database(database.owner_url, url)) as connection:
        assert await values(connection, "SHOW statement_timeout") == ["1234ms"]
        assert await values(connection, "SHOW timezone") == ["UTC"]


async def test_a_transaction_is_whole_or_nothing(pool: AsyncConnectionPool) -> None:
    with pytest.raises(RuntimeError, match="changed my mind"):
        async with transaction(pool) as connection:
            await connection.execute("INSERT INTO client (name) VALUES ('A')")
            raise RuntimeError("changed my mind")
    async with transaction(pool) as connection:
        await connection.execute("INSERT INTO client (name) VALUES ('B')")
    async with pool.connection() as connection:
        assert await values(connection, "SELECT name FROM client ORDER BY name") == [
            "B",
            "Time2Plug",
        ]


async def test_the_pool_replaces_connections_that_died(
    pool: AsyncConnectionPool, administrator: psycopg.Connection
) -> None:
    async with pool.connection() as connection:
        pid = connection.info.backend_pid
    administrator.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
    async with pool.connection() as connection:
        assert await values(connection, "SELECT 1") == [1]


async def test_the_pool_works_again_as_soon_as_the_server_is_back(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, database_pool_max=2)
    async with open_database(settings) as database:
        await migrate(database)
        assert database.server is not None
        async with open_pool(database, settings) as pool:
            for _ in range(2):
                await asyncio.to_thread(database.server.kill)
                with pytest.raises(psycopg.OperationalError):
                    while True:  # until its last child has noticed
                        async with pool.connection(timeout=1) as connection:
                            await connection.execute("SELECT 1")
                await asyncio.to_thread(database.server.ensure_running)
                async with pool.connection(timeout=4) as connection:
                    assert await values(connection, "SELECT name FROM client") == ["Time2Plug"]
    assert database.server.pid() is None


async def test_who_waits_through_an_outage_is_served_at_its_end(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, database_pool_max=2)

    async def ask(pool: AsyncConnectionPool) -> list[object]:
        async with pool.connection(timeout=60) as connection:
            return await values(connection, "SELECT 1")

    async with open_database(settings) as database, open_pool(database, settings) as pool:
        assert database.server is not None
        before = pool.get_stats().get("connections_errors", 0)
        await asyncio.to_thread(database.server.kill)
        while True:
            try:
                waiting = asyncio.ensure_future(ask(pool))
                await asyncio.wait_for(asyncio.shield(waiting), timeout=0.5)
            except TimeoutError:
                break  # waits now
            except psycopg.OperationalError:
                continue  # the last child had not noticed
        async with asyncio.timeout(30):  # longer than the pool's first attempts
            # The pool has no event for it.
            while pool.get_stats().get("connections_errors", 0) < before + 6:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        await asyncio.to_thread(database.server.ensure_running)
        assert await asyncio.wait_for(waiting, timeout=4) == [1]


async def test_a_database_out_of_reach_is_told_in_one_sentence(tmp_path: Path) -> None:
    nowhere = make_conninfo("", host=str(tmp_path), dbname="x", connect_timeout=2)
    with pytest.raises(SettingError, match="cannot be reached: connection"):
        async with open_pool(Database(nowhere, nowhere), Settings()):
            pass


async def test_settings_with_urls_start_no_server(settings: Settings) -> None:
    async with open_database(settings) as database:
        assert database.server is None
        assert database.owner_url == settings.database_owner_url
        assert not settings.data_dir.exists()


# Locks.


async def test_an_advisory_lock_has_one_holder(database: Database) -> None:
    async with await connect(database) as first, await connect(database) as second:
        await hold_advisory_lock(first, "worker")
        assert not await try_advisory_lock(second, "worker")
        assert await try_advisory_lock(second, "another")
        waiting = asyncio.ensure_future(hold_advisory_lock(second, "worker"))
        await first.close()
        await asyncio.wait_for(waiting, timeout=10)


# Migrations.


async def test_two_nodes_migrate_at_once(empty_database: Database) -> None:
    applied = await asyncio.gather(*(migrate(empty_database) for _ in range(3)))
    names = sorted(name for names in applied for name in names)
    assert names[0] == "0001_csms_core.sql"
    assert len(names) == len(set(names)), "each was applied once"
    assert await migrate(empty_database) == []


@pytest.mark.native  # the type of a compressed column stays what it is
async def test_a_filled_database_is_upgraded_and_keeps_every_row(
    empty_database: Database, own_folder: Path
) -> None:
    await migrate(empty_database, [own_folder])
    async with await connect(empty_database) as connection:
        await connection.execute(FILL.encode())
        every = [
            table
            for table in await tables(connection)
            if not table.startswith("schema_")  # the application has no business there
        ]
    async with await connect(empty_database, owner=True) as connection:
        before = {t: await values(connection, f"SELECT to_jsonb(t) FROM {t} t") for t in every}
    assert all(before.values()), f"no rows in {[t for t in before if not before[t]]}"
    name = add_migration(
        own_folder,
        # The view reads texts: it must be gone while the column changes, and be back after.
        """ALTER TABLE meter_reading ALTER COLUMN texts TYPE json USING texts::json;
           ALTER TABLE session ADD COLUMN price_cents bigint;
           UPDATE session SET price_cents = 0;""",
    )
    assert await migrate(empty_database, [own_folder]) == [name]
    async with await connect(empty_database, owner=True) as connection:
        for table, rows in before.items():
            after = await values(connection, f"SELECT to_jsonb(t) FROM {table} t")
            if table == "session":
                assert after == [{**row, "price_cents": 0} for row in rows]  # type: ignore[dict-item]
            elif table != "meter_reading":
                assert after == rows, table
        assert await values(connection, "SELECT value FROM meter_value ORDER BY position") == [
            1234.5,
            None,
        ]
        assert await values(connection, "SELECT text FROM meter_value ORDER BY position") == [
            None,
            "n/a",
        ]


async def test_a_migration_that_fails_leaves_nothing_of_itself(
    empty_database: Database, own_folder: Path
) -> None:
    await migrate(empty_database, [own_folder])
    name = add_migration(own_folder, "CREATE TABLE half (id int); SELECT 1 / 0;")
    with pytest.raises(psycopg.errors.DivisionByZero):
        await migrate(empty_database, [own_folder])
    async with await connect(empty_database) as connection:
        assert await values(connection, "SELECT to_regclass('half')") == [None]
    (own_folder / name).write_text("CREATE TABLE whole (id int);")
    assert await migrate(empty_database, [own_folder]) == [name]
    async with await connect(empty_database) as connection:
        assert await values(connection, "SELECT count(*) FROM meter_value") == [0]


async def test_an_applied_migration_is_never_changed(
    empty_database: Database, own_folder: Path
) -> None:
    await migrate(empty_database, [own_folder])
    with (own_folder / "0001_csms_core.sql").open("a") as file:
        file.write("-- only a comment\n")
    with pytest.raises(MigrationError, match=r"0001_csms_core\.sql has another text"):
        await migrate(empty_database, [own_folder])


async def test_a_database_of_a_newer_version_is_let_alone(
    empty_database: Database, own_folder: Path
) -> None:
    name = add_migration(own_folder, "SELECT 1;")
    await migrate(empty_database, [own_folder])
    with pytest.raises(MigrationError, match=f"{name}.*newer version"):
        await migrate(empty_database)


@pytest.mark.parametrize("after", [0, 2])
async def test_numbers_with_a_gap_or_given_twice_are_refused(
    empty_database: Database, own_folder: Path, after: int
) -> None:
    add_migration(own_folder, "SELECT 1;", after=after)
    with pytest.raises(MigrationError, match="numbered"):
        await migrate(empty_database, [own_folder])


async def test_a_file_of_another_name_is_refused(
    empty_database: Database, own_folder: Path
) -> None:
    (own_folder / "0002_core.sql").write_text("")
    with pytest.raises(MigrationError, match="not named"):
        await migrate(empty_database, [own_folder])


async def test_changed_views_are_rebuilt_without_a_migration(
    empty_database: Database, own_folder: Path
) -> None:
    await migrate(empty_database, [own_folder])
    with (own_folder / "views.sql").open("a") as file:
        file.write("CREATE VIEW two AS SELECT 2 AS n;\n")
    assert await migrate(empty_database, [own_folder]) == []
    async with await connect(empty_database, owner=True) as connection:
        assert await values(connection, "SELECT n FROM two") == [2]
    assert await migrate(empty_database) == []
    async with await connect(empty_database, owner=True) as connection:
        assert await values(connection, "SELECT to_regclass('two')") == [None]


async def test_what_is_missing_is_known(empty_database: Database) -> None:
    async with await connect(empty_database) as connection:
        assert (await missing_migrations(connection))[0] == "0001_csms_core.sql"
        await migrate(empty_database)
        assert await missing_migrations(connection) == []


# Rights.


async def test_the_application_owns_nothing_and_creates_nothing(database: Database) -> None:
    async with await connect(database) as connection:
        assert (
            await values(
                connection,
                """SELECT oid::regclass FROM pg_class
                    WHERE relowner IN ('t2p_app'::regrole, 't2p_service'::regrole)""",
            )
            == []
        )
        assert (
            await values(
                connection,
                """SELECT 1 FROM pg_proc
                    WHERE proowner IN ('t2p_app'::regrole, 't2p_service'::regrole)""",
            )
            == []
        )
        for statement in (
            "CREATE TABLE mine (id int)",
            "ALTER TABLE session ADD COLUMN mine int",
            "DROP TABLE session_event",
            "TRUNCATE session",
            "DELETE FROM session",
            "INSERT INTO schema_migration VALUES (99, 'x', 'x')",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                await connection.execute(statement.encode())


@pytest.mark.parametrize("table", ["meter_reading", "evse_status", "ocpp_message", "session_event"])
async def test_evidence_is_only_ever_added(database: Database, table: str) -> None:
    async with await connect(database) as connection:
        await connection.execute(FILL.encode())
        assert await values(connection, f"SELECT count(*) FROM {table}") == [1]
        column = {"session_event": "session_id"}.get(table, "station_key")
        for statement in (
            f"UPDATE {table} SET {column} = 0",
            f"DELETE FROM {table}",
            f"TRUNCATE {table}",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                await connection.execute(statement.encode())


async def test_no_month_lets_the_application_round_the_rules(database: Database) -> None:
    async with await connect(database) as connection:
        months = await values(
            connection,
            """SELECT c.oid::regclass::text FROM pg_class c WHERE c.relispartition
                AND c.relkind = 'r' AND has_table_privilege('t2p_service', c.oid,
                    'INSERT, UPDATE, DELETE, TRUNCATE')""",
        )
    assert months == []


async def test_every_table_leads_to_its_client(database: Database) -> None:
    """Through columns that may not be null: client_id, station_key, session_id of evidence, or the
    person, whose groups lead to clients."""
    async with await connect(database) as connection:
        for table in await tables(connection):
            if table in NOBODYS or table in ("client", "person"):
                continue
            leading = await values(
                connection,
                f"""SELECT attname FROM pg_attribute WHERE attrelid = '{table}'::regclass
                     AND attname IN ('client_id', 'station_key', 'session_id', 'person_id',
                                     'group_id') AND attnotnull""",
            )
            assert leading, f"{table} leads to no client"
        assert set(NOBODYS) - {"schema_rollup"} <= set(await tables(connection))  # native
        referenced = await values(
            connection,
            """SELECT conrelid::regclass::text FROM pg_constraint
                WHERE contype = 'f' AND confrelid = 'client'::regclass""",
        )
        assert {"site", "station", "token", "session"} <= set(referenced)
