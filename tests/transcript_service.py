"""A gateway that transcripts are played against. See tests.conversation."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator

import psycopg
import pytest

from csms import db
from csms.config import Settings
from csms.serve import open_service
from tests.conftest import Server, drop_database, free_ports, make_database

_numbers = itertools.count(1)


class Service:
    """A gateway that runs in this loop, in a task of its own, until it is told to stop."""

    def __init__(self, settings: Settings, database: db.Database) -> None:
        self.settings = settings
        self.database = database
        self.port = 0
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._stopping.clear()
        ready: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._run(ready))
        await asyncio.wait((ready, self._task), return_when=asyncio.FIRST_COMPLETED)
        if self._task.done():
            self._task.result()
        self.port = ready.result()

    async def _run(self, ready: asyncio.Future[int]) -> None:
        async with open_service(self.settings, parts=("gateway", "web")) as ports:
            ready.set_result(ports[0])
            await self._stopping.wait()

    async def stop(self) -> None:
        self._stopping.set()
        if self._task is not None:
            await self._task

    async def restart(self) -> None:
        """Stop, and start with the settings as they are now."""
        await self.stop()
        await self.start()


@contextlib.asynccontextmanager
async def running_on(
    server: Server,
    administrator: psycopg.Connection,
    storage: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Service]:
    """A service on a database of its own, for the transcripts of one module.

    What it writes beside its answers it writes sooner than in production.
    """
    name = f"t2p_test_transcripts_{next(_numbers)}"
    database = await asyncio.to_thread(make_database, server, administrator, name, storage)
    ocpp_port, http_port = free_ports(2)
    settings = Settings(
        database_url=database.app_url,
        database_owner_url=database.owner_url,
        data_dir=tmp_path_factory.mktemp("data"),
        ocpp_port=ocpp_port,
        http_port=http_port,
        command_poll_s=0.2,
        ocsp_hosts="none.invalid",  # nobody outside is asked
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("csms.observations.PERIOD_S", 0.05)
        patch.setattr("csms.wire.gateway.SWEEP_PERIOD_S", 0.05)
        service = Service(settings, database)
        await service.start()
        try:
            yield service
        finally:
            await service.stop()
            drop_database(administrator, name)
