"""Every order that the central system can give, to stations that obey, refuse, err, fall silent
and reboot: conversations with a real gateway."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
import pytest_asyncio

from csms.wire import orders
from tests.conftest import Server
from tests.conversation import TRANSCRIPTS, play
from tests.transcript_service import running_on

FOLDERS = {"ocpp1.6": TRANSCRIPTS / "orders_16", "ocpp2.0.1": TRANSCRIPTS / "orders_201"}
PATHS = sorted(path for folder in FOLDERS.values() for path in folder.glob("*.ocpp"))
SILENCE_S = 3.0

Plays = dict[Path, asyncio.Task[None]]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def plays(
    server: Server,
    administrator: psycopg.Connection,
    storage: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Plays]:
    """All conversations at once on one gateway: each waits for a station that says nothing."""
    async with running_on(server, administrator, storage, tmp_path_factory) as service:
        service.settings = replace(service.settings, call_timeout_s=SILENCE_S)
        await service.restart()
        tasks = {path: asyncio.create_task(play(path, service)) for path in PATHS}
        yield tasks
        await asyncio.gather(*tasks.values(), return_exceptions=True)


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("path", PATHS, ids=lambda path: f"{path.parent.name}-{path.stem}")
async def test_order(path: Path, plays: Plays) -> None:
    await plays[path]


@pytest.mark.parametrize("protocol", FOLDERS)
def test_every_order_has_its_transcript(protocol: str) -> None:
    assert {path.stem for path in FOLDERS[protocol].glob("*.ocpp")} == orders.actions(protocol)
