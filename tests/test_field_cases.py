"""What central systems meet in the field, as conversations: see tests/transcripts."""

from collections.abc import AsyncIterator
from pathlib import Path

import psycopg
import pytest
import pytest_asyncio

from csms.embedded import EmbeddedServer
from tests.conversation import TRANSCRIPTS, Service, play, running_on

CASES = sorted(TRANSCRIPTS.glob("*.ocpp"))

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(
    server: EmbeddedServer,
    administrator: psycopg.Connection,
    template: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Service]:
    """One gateway for all transcripts."""
    async with running_on(server, administrator, template, tmp_path_factory) as service:
        yield service


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
async def test_conversation(path: Path, service: Service) -> None:
    await play(path, service)
