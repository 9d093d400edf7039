"""Migrations, roles and locks on a real PostgreSQL."""

from csms.db import Database, connect


async def test_the_application_runs_as_its_own_role_in_utc(database: Database) -> None:
    async with await connect(database) as connection:
        await connection.execute("RESET ROLE")
        cursor = await connection.execute("SELECT current_user, current_setting('timezone')")
        assert await cursor.fetchone() == ("t2p_app", "UTC")
