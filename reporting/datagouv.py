"""data.gouv.fr: the static IRVE file uploaded when it has changed, and the link to the dynamic one.

- `datagouv.static`: an item is one content of the file, by its SHA-256. Before anything is sent the
  file is read anew: what is another by now is dropped, so that no point that went private, and no
  state of yesterday, leaves. A file that the national consolidation would leave out as a whole is
  not sent; the desk has the reason.
- `datagouv.link`: where the dynamic file is, which pollers fetch from us; told when that changes.

Dataset and resources are made once, by a person, on the platform. Each request looks first: what
the platform has by its checksum is not uploaded again, however the request before it ended, and
what it says that it has stored is compared with what was sent. Items stay for good: they are the
record of what was sent, when, and what was answered.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from psycopg import AsyncConnection

from csms.config import Settings
from csms.store import sites
from reporting import store_outlet
from reporting.datagouv_client import Client
from reporting.irve import publication
from reporting.irve.consolidation import judge
from reporting.irve.findings import Effect
from reporting.irve.static_rows import PARIS
from reporting.outlet import Lost, Outlet, Receipt, Refused
from reporting.store_outlet import Item, NewItem, ToldRow

STATIC: Final = "datagouv.static"
LINK: Final = "datagouv.link"
FILE_NAME: Final = "irve-statique.csv"
STATIC_TITLE: Final = "IRVE : points de recharge ouverts au public (fichier statique)"
LINK_TITLE: Final = "IRVE : état des points de recharge ouverts au public (fichier dynamique)"
STATIC_SCHEMA: Final = "etalab/schema-irve-statique"
DYNAMIC_SCHEMA: Final = "etalab/schema-irve-dynamique"
DYNAMIC_PATH: Final = "/irve/dynamique.csv"
ANOTHER: Final = "something else holds by now"
REASONS_MAX: Final = 5  # of a file that is not sent


@asynccontextmanager
async def open_outlets(settings: Settings) -> AsyncIterator[list[Outlet]]:
    """The outlets that are set; none without an account."""
    if not is_set(settings):
        yield []
        return
    async with Client(settings) as client:
        yield outlets(settings, client)


def outlets(settings: Settings, client: Client) -> list[Outlet]:
    """The file, and the link where there is a resource for it."""
    found: list[Outlet] = [StaticFile(settings, client)]
    if settings.datagouv_dynamic_resource is not None:
        found.append(DynamicLink(settings, client))
    return found


def is_set(settings: Settings) -> bool:
    """Whether there is an account, and a resource to fill."""
    return None not in (
        settings.datagouv_key,
        settings.datagouv_organization,
        settings.datagouv_dataset,
        settings.datagouv_static_resource,
    )


@dataclass(frozen=True, slots=True)
class File:
    """The file at a moment. refusal: why it is not to be sent, if it is not."""

    content: bytes
    rows: int
    held_back: int  # public points that are not in it, for what is wrong with them
    refusal: str | None = None

    @property
    def sha256(self) -> str:
        """Its name: that of the reason where there is no content."""
        named = self.content or (self.refusal or "").encode()
        return hashlib.sha256(named).hexdigest()


async def read_file(connection: AsyncConnection, settings: Settings, now: datetime) -> File:
    """The static file, judged as the national consolidation would."""
    try:
        static = await publication.read_static(connection, settings, now)
    except publication.TooManyPoints as error:
        return File(b"", 0, 0, f"the file cannot be written: {error}")
    content = await asyncio.to_thread(static.content)
    today = now.astimezone(PARIS).date()
    judgement = await asyncio.to_thread(judge, content, FILE_NAME, today, settings.afirev_prefixes)
    refusal = None
    if judgement.is_left_out:
        found = [f for f in judgement.findings if f.effect is Effect.FILE][:REASONS_MAX]
        reasons = "; ".join(f"{f.point or 'the file'} {f.column}: {f.told('en')}" for f in found)
        refusal = f"the national consolidation would leave the whole file out: {reasons}"
    return File(content, len(static.rows), len(static.refused), refusal)


class _ToDataGouv(Outlet):
    """What both have in common: one object, and the last word on it."""

    is_idempotent = True  # what is there already is not sent again

    def __init__(self, settings: Settings, client: Client) -> None:
        self._settings = settings
        self._client = client
        self.gather_period_s = settings.datagouv_period_s

    async def _new(
        self, connection: AsyncConnection, resource: str, body: Mapping[str, Any], now: datetime
    ) -> Sequence[NewItem]:
        """An item with this body, unless its `wanted` is the last word already."""
        told = {t.object_key: t for t in await store_outlet.list_told(connection, self.name)}
        last = told.get(resource)
        if _is_said(last, body):
            return []
        await store_outlet.supersede(connection, self.name, [resource], now)
        number = 1 if last is None else last.number + 1
        operator_id = await sites.operator_client_id(connection)
        source_key = f"{resource}#{number}"
        return [NewItem(operator_id, resource, source_key, self.kind, now, dict(body))]

    kind: str


def _is_said(last: ToldRow | None, body: Mapping[str, Any]) -> bool:
    return last is not None and not last.is_void and last.body["wanted"] == body["wanted"]


class StaticFile(_ToDataGouv):
    """The static file, hosted there."""

    name = STATIC
    kind = "file"

    def __init__(self, settings: Settings, client: Client) -> None:
        super().__init__(settings, client)
        assert settings.datagouv_static_resource is not None
        self._resource = settings.datagouv_static_resource
        self._file: File | None = None  # as it was read last, for what is sent next

    async def gather(self, connection: AsyncConnection, now: datetime) -> Sequence[NewItem]:
        """The file, where it is not what was said last; none without points before the first."""
        file = await read_file(connection, self._settings, now)
        body = {
            "wanted": {"sha256": file.sha256, **self._description()},
            "sha1": hashlib.sha1(file.content, usedforsecurity=False).hexdigest(),
            "bytes": len(file.content),
            "rows": file.rows,
            "held_back": file.held_back,
            "refusal": file.refusal,
        }
        is_empty = not file.rows and file.refusal is None
        if is_empty and not await store_outlet.list_told(connection, self.name):
            return []
        return await self._new(connection, self._resource, body, now)

    def _description(self) -> dict[str, Any]:
        return {
            "title": STATIC_TITLE,
            "type": "main",
            "schema": {"name": STATIC_SCHEMA, "version": self._settings.datagouv_schema_version},
        }

    async def unfit(
        self, connection: AsyncConnection, items: Sequence[Item], now: datetime
    ) -> dict[int, str]:
        """Those of another content than the file has now."""
        self._file = await read_file(connection, self._settings, now)
        return {
            item.id: ANOTHER for item in items if item.body["wanted"]["sha256"] != self._file.sha256
        }

    def flaw(self, item: Item, now: datetime) -> str | None:
        """Why the consolidation would leave the file out."""
        refusal: str | None = item.body["refusal"]
        return refusal

    async def send(self, items: Sequence[Item]) -> list[Receipt]:
        """Upload it unless it is there, and say what it is."""
        assert len(items) == 1 and self._file is not None
        content = self._file.content
        await self._client.check_owner()
        there = await self._client.get(self._resource)
        if not there.is_hosted:
            raise Refused(f"resource {self._resource} is a link: a file cannot be put there")
        done = "it was there already"
        if not there.has(content):
            there = await self._client.upload(self._resource, FILE_NAME, content)
            done = f"uploaded, {len(content)} bytes"
            if not there.has(content):
                raise Lost(f"it stored something else: {there.values.get('checksum')}")
        description = self._description()
        if not there.is_described(description):
            there = await self._client.describe(self._resource, description)
        return [Receipt(f"{done}; {there.url}", self._resource)]


class DynamicLink(_ToDataGouv):
    """The address of the dynamic file."""

    name = LINK
    kind = "link"

    def __init__(self, settings: Settings, client: Client) -> None:
        super().__init__(settings, client)
        assert settings.datagouv_dynamic_resource is not None and settings.public_url is not None
        self._resource = settings.datagouv_dynamic_resource
        self._url = settings.public_url.rstrip("/") + DYNAMIC_PATH

    async def gather(self, connection: AsyncConnection, now: datetime) -> Sequence[NewItem]:
        """The link, where it is not what was said last."""
        return await self._new(connection, self._resource, {"wanted": self._description()}, now)

    def _description(self) -> dict[str, Any]:
        return {
            "url": self._url,
            "title": LINK_TITLE,
            "type": "main",
            "filetype": "remote",
            "format": "csv",
            "schema": {"name": DYNAMIC_SCHEMA, "version": self._settings.datagouv_schema_version},
        }

    async def unfit(
        self, connection: AsyncConnection, items: Sequence[Item], now: datetime
    ) -> dict[int, str]:
        """Those that say something else than holds now."""
        wanted = self._description()
        return {item.id: ANOTHER for item in items if item.body["wanted"] != wanted}

    async def send(self, items: Sequence[Item]) -> list[Receipt]:
        """Describe it, unless it is described so."""
        (item,) = items
        wanted = item.body["wanted"]
        await self._client.check_owner()
        there = await self._client.get(self._resource)
        if there.is_hosted:
            raise Refused(f"resource {self._resource} is a file: it cannot lead to {self._url}")
        done = "it was said already"
        if not there.is_described(wanted):
            there = await self._client.describe(self._resource, wanted)
            done = "described"
        return [Receipt(f"{done}; {there.url}", self._resource)]
