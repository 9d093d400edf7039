"""Requests to data.gouv.fr, for one dataset of an organisation: bounded in time and size.

The API is that of udata (github.com/opendatateam/udata, udata/core/dataset/api.py; its guide:
guides.data.gouv.fr, "Gérer un jeu de données par l'API"), base https://www.data.gouv.fr/api/1, the
key of a member's account in the header X-API-KEY:

- GET  /datasets/{dataset}/                             the dataset with its organisation
- GET  /datasets/{dataset}/resources/{resource}/        a resource: title, type, filetype (file or
  remote), url, schema {name, version}, filesize, checksum {type, value}
- POST /datasets/{dataset}/resources/{resource}/upload/ multipart, part `file`: another content of a
  hosted file. The answer is the resource with the checksum of what was stored, and its title is the
  name of the file from then on
- PUT  /datasets/{dataset}/resources/{resource}/        its description; members that are not sent
  stay. `filetype` cannot be changed, nor the `url` of a hosted file

It answers after it has written. 400 with `errors` or `error` is a flaw of what was sent, 401 a key
that is unknown, 403 a right that is missing, 404 and 410 what is not there, 413 and 415 a file that
it does not want.
"""

import asyncio
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final

import httpx

from csms.config import Settings
from reporting.outlet import Away, Lost, Refused
from reporting.outlet_http import ANSWER_BYTES_MAX, FAILED, UNSENT, seconds, told, trust

USER_AGENT: Final = "Time2Plug-Supervision"

_NOT_TAKEN: Final = frozenset({408, 425, 429, 503})
_CHECKSUMS: Final = ("sha1", "sha256", "md5")  # those of the platform's that can be computed here


@dataclass(frozen=True, slots=True)
class Resource:
    """A file or link of the dataset, as the platform describes it."""

    values: Mapping[str, Any]

    @property
    def is_hosted(self) -> bool:
        """Whether its content lies on the platform."""
        return self.values.get("filetype") == "file"

    @property
    def url(self) -> str:
        """Where it is fetched from."""
        return str(self.values.get("url") or "")

    def has(self, content: bytes) -> bool:
        """Whether that is its content, by checksum; by length where it has no checksum we know."""
        checksum = self.values.get("checksum") or {}
        kind, value = checksum.get("type"), str(checksum.get("value", ""))
        if kind in _CHECKSUMS:
            found = hashlib.new(kind, content, usedforsecurity=False).hexdigest()
            return found == value.lower()
        return bool(self.values.get("filesize") == len(content))

    def is_described(self, wanted: Mapping[str, Any]) -> bool:
        """Whether its description says all of that; of a part with members (the schema), those."""
        return all(_says(self.values.get(name), value) for name, value in wanted.items())


class Client:
    """The platform as one account sees it. Use as an asynchronous context manager."""

    def __init__(self, settings: Settings) -> None:
        assert settings.datagouv_key is not None
        self._settings = settings
        self._key = settings.datagouv_key
        self._base = f"{settings.datagouv_url.rstrip('/')}/datasets/{settings.datagouv_dataset}/"
        self._http: httpx.AsyncClient | None = None

    async def __aenter__(self) -> "Client":
        trusted = await asyncio.to_thread(trust, self._settings)
        self._http = httpx.AsyncClient(
            timeout=self._settings.datagouv_timeout_s,
            trust_env=False,
            verify=trusted,
            follow_redirects=False,
            headers={
                "User-Agent": USER_AGENT,
                "X-API-KEY": self._key,
                "Accept": "application/json",
                "Accept-Encoding": "identity",
            },
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._http is not None:
            await self._http.aclose()

    async def check_owner(self) -> None:
        """The dataset must be the organisation's: the national consolidation takes no other
        producer's file than an organisation's. Raises: Refused, Away, Lost."""
        dataset = await self._ask("GET", "", headers={"X-Fields": "organization"})
        found = (dataset.get("organization") or {}).get("id")
        if found != self._settings.datagouv_organization:
            raise Refused(
                f"dataset {self._settings.datagouv_dataset} belongs to "
                f"{f'organisation {found}' if found else 'a person, to no organisation'}, not to "
                f"{self._settings.datagouv_organization}"
            )

    async def get(self, resource: str) -> Resource:
        """A resource as it is now. Raises: Refused, Away, Lost."""
        return Resource(await self._ask("GET", f"resources/{resource}/"))

    async def upload(self, resource: str, name: str, content: bytes) -> Resource:
        """Replace the content of a hosted file. Raises: Refused, Away, Lost."""
        files = {"file": (name, content, "text/csv")}
        return Resource(await self._ask("POST", f"resources/{resource}/upload/", files=files))

    async def describe(self, resource: str, values: Mapping[str, Any]) -> Resource:
        """Change members of its description. Raises: Refused, Away, Lost."""
        return Resource(await self._ask("PUT", f"resources/{resource}/", json=dict(values)))

    async def _ask(self, method: str, path: str, **content: Any) -> Mapping[str, Any]:
        """The object that is answered. Raises: Refused, Away, Lost."""
        status, read, retry_after_s = await self._exchange(method, path, **content)
        text = read.decode("utf-8", "replace").replace(self._key, "***")
        answered = f"{method} {path or 'the dataset'}: {status} {text}".strip()
        if 200 <= status < 300:
            return _object(status, read)
        if status == 401:
            raise Away(f"the key is refused: {answered}")
        if status in _NOT_TAKEN or 300 <= status < 400:
            raise Away(answered, retry_after_s)
        if 400 <= status < 500:
            raise Refused(answered)
        raise Lost(answered)

    async def _exchange(
        self, method: str, path: str, **content: Any
    ) -> tuple[int, bytes, float | None]:
        """Status, body, and when to come back. Raises: Away when nothing was sent; Lost."""
        try:
            async with asyncio.timeout(self._settings.datagouv_timeout_s):
                return await self._read(method, path, **content)
        except UNSENT as error:
            raise Away(told(error)) from None
        except FAILED as error:
            raise Lost(f"no whole answer: {told(error)}") from None

    async def _read(
        self, method: str, path: str, **content: Any
    ) -> tuple[int, bytes, float | None]:
        assert self._http is not None
        read = bytearray()
        async with self._http.stream(method, self._base + path, **content) as answer:
            async for part in answer.aiter_raw():
                read += part
                if len(read) > ANSWER_BYTES_MAX:
                    raise Lost(f"an answer of more than {ANSWER_BYTES_MAX} bytes")
            return answer.status_code, bytes(read), seconds(answer.headers.get("Retry-After"))


def _says(found: Any, wanted: Any) -> bool:
    if isinstance(wanted, Mapping):
        known = found if isinstance(found, Mapping) else {}
        return all(known.get(name) == value for name, value in wanted.items())
    return bool(found == wanted)


def _object(status: int, read: bytes) -> Mapping[str, Any]:
    """Raises: Lost for what is no JSON object."""
    try:
        found = json.loads(read)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise Lost(f"{status} with an answer that is no JSON object")
    return found
