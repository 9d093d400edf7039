"""People for tests of log-ins: made with a password, and what they were mailed."""

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import httpx
import pyotp
from psycopg_pool import AsyncConnectionPool

from csms import accounts, passwords, secrets
from csms.config import Settings
from csms.db import transaction
from csms.store import people as store
from csms.web.app import create_app

PASSWORD = "un cheval bleu dans la cave"
OTHER_PASSWORD = "trois tulipes au bord du quai"
_HASH = passwords.hash_chosen(PASSWORD)


def now() -> datetime:
    return datetime.now(UTC)


async def person(
    pool: AsyncConnectionPool,
    email: str = "conductrice@example.org",
    *,
    roles: tuple[str, ...] = (),
    manages: tuple[int, ...] = (),
    password: bool = True,
) -> int:
    """A person with PASSWORD, who has accepted her invitation; or who was not invited yet."""
    async with transaction(pool) as connection:
        person_id = await accounts.create_person(
            connection, email=email, actor="test", roles=roles, now=now()
        )
        if password:
            await store.set_password(connection, person_id, _HASH, now())
            await store.verify_email(connection, person_id, now())
        for client_id in manages:
            await accounts.add_manager(connection, person_id, client_id, actor="test", now=now())
    return person_id


@dataclass(frozen=True)
class Mails:
    """What people were told, as it waits to be mailed."""

    pool: AsyncConnectionPool
    settings: Settings

    async def events(self) -> list[str]:
        """Codes of what was told, in order."""
        return [event for event, _ in await self._told()]

    async def links(self) -> list[str]:
        """All links, in order."""
        return [hidden["link"] for _, hidden in await self._told() if "link" in hidden]

    async def token(self, event: str) -> str:
        """The token at the end of the last link of this kind."""
        found = [hidden["link"] for code, hidden in await self._told() if code == event]
        return found[-1].rsplit("/", 1)[1]

    async def addresses(self, event: str) -> list[str]:
        """To which addresses such mails go, but the person's own."""
        return [hidden["address"] for code, hidden in await self._told() if code == event]

    async def _told(self) -> list[tuple[str, dict[str, str]]]:
        async with self.pool.connection() as connection:
            cursor = await connection.execute("SELECT event, secret FROM notification ORDER BY id")
            rows = await cursor.fetchall()
        return [
            (event, json.loads(secrets.unseal(self.settings, sealed)) if sealed else {})
            for event, sealed in rows
        ]


@asynccontextmanager
async def browser(
    pool: AsyncConnectionPool,
    people: AsyncConnectionPool,
    settings: Settings,
    *,
    address: str = "192.0.2.10",
    base_url: str = "http://test",
) -> AsyncIterator[httpx.AsyncClient]:
    """A browser at an address, with an application of its own, as another node has."""
    transport = httpx.ASGITransport(
        create_app(pool, settings, people=people), client=(address, 50_000)
    )
    async with httpx.AsyncClient(transport=transport, base_url=base_url) as client:
        yield client


def csrf(answer: httpx.Response) -> str:
    """The token in the first form of a page."""
    found = re.search(r'name="csrf" value="([0-9a-f]+)"', answer.text)
    assert found is not None, answer.text
    return found[1]


async def log_in_page(
    client: httpx.AsyncClient,
    email: str = "conductrice@example.org",
    password: str = PASSWORD,
    **fields: str,
) -> httpx.Response:
    """Fill in the log-in form."""
    form = await client.get("/login", follow_redirects=False)
    return await client.post(
        "/login", data={"csrf": csrf(form), "email": email, "password": password, **fields}
    )


async def log_in(
    client: httpx.AsyncClient,
    email: str = "conductrice@example.org",
    password: str = PASSWORD,
    **members: str,
) -> httpx.Response:
    """Log in to the API."""
    return await client.post(
        "/api/v1/auth/log-in", json={"email": email, "password": password, **members}
    )


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def code_of(secret: str, *, steps: int = 1) -> str:
    """The code of an app whose clock is so many steps ahead: one step passes, and stays good when
    a step ends meanwhile."""
    return pyotp.TOTP(secret).at(int(datetime.now(UTC).timestamp()) + 30 * steps)
