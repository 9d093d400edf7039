"""Sudden deaths and outages in short, with real processes; `make chaos` plays them at length."""

import asyncio
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from csms.embedded import OWNER, EmbeddedServer
from csms.postgres_tools import account_for
from tests import chaos

pytestmark = pytest.mark.chaos
SEED = 20_220_525


async def test_nothing_acknowledged_is_lost_when_service_and_database_are_killed(
    tmp_path: Path,
) -> None:
    report = await chaos.sudden_deaths(tmp_path, rounds=4, stations=12, seed=SEED)
    assert not report.faults, "\n".join(report.faults)
    assert report.energy_wh > 0
    assert report.acknowledged > 300


async def test_nothing_is_acknowledged_while_the_database_is_away_and_nothing_is_lost(
    tmp_path: Path,
) -> None:
    reports = await asyncio.gather(
        *(
            chaos.outage(tmp_path / kind, kind, seconds=5, stations=12, seed=SEED)
            for kind in chaos.OUTAGES
        )
    )
    for report in reports:
        assert not report.faults, "\n".join(report.faults)
        assert report.resent > 0


def test_the_server_starts_though_a_dead_ones_process_id_is_still_taken(tmp_path: Path) -> None:
    server = EmbeddedServer(tmp_path / "data")
    server.join()
    server.kill()
    # A killed server that nobody has reaped keeps its process id; this one stands in for it.
    command = [sys.executable, "-c", "import sys; sys.stdin.read()"]
    account = account_for(server.directory)
    if account is not None:
        command = account.wrap(command, server.directory)
    with subprocess.Popen(command, stdin=subprocess.PIPE) as stranger:
        for lock in (
            server.directory / "data" / "postmaster.pid",
            server.socket_dir / ".s.PGSQL.5432.lock",
        ):
            lines = lock.read_text().split("\n")
            lock.write_text("\n".join([str(stranger.pid), *lines[1:]]))
        server.ensure_running()
        with psycopg.connect(server.conninfo(OWNER)) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
    server.leave()
