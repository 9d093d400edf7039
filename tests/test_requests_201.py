"""Each request of OCPP 2.0.1 that a station may send, as a conversation with a real gateway."""

from collections.abc import AsyncIterator
from pathlib import Path

import psycopg
import pytest
import pytest_asyncio

from csms.wire import ocpp201
from tests.conftest import Server
from tests.conversation import TRANSCRIPTS, play
from tests.transcript_service import Service, running_on

REQUESTS = sorted((TRANSCRIPTS / "requests_201").glob("*.ocpp"))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(
    server: Server,
    administrator: psycopg.Connection,
    storage: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Service]:
    """One gateway for all transcripts."""
    async with running_on(server, administrator, storage, tmp_path_factory) as service:
        yield service


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("path", REQUESTS, ids=lambda path: path.stem)
async def test_request(path: Path, service: Service) -> None:
    await play(path, service)


def test_every_request_has_its_transcript() -> None:
    assert {path.stem for path in REQUESTS} == set(ocpp201.REQUESTS)
