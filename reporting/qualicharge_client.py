"""Requests to QualiCharge: one token for all, gzip, bounded in time and size, and what its answers
mean for what was sent.

What its source says counts here: a dynamic write is done after the 201, and an error of the service
itself (500) comes before it, so that nothing of such a request was kept. An answer of a server in
front of it (502, 504), a time-out and a cut connection leave it open.
"""

import asyncio
import gzip
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final

import httpx

from csms.config import Settings
from reporting.outlet import Away, Lost, Refused
from reporting.outlet_http import ANSWER_BYTES_MAX, FAILED, UNSENT, seconds, told, trust

LOGIN_GAP_S: Final = 15.0  # four a minute

_NOT_TAKEN: Final = frozenset({408, 425, 429, 500, 503})
_UUID: Final = re.compile(rb'"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})"')


@dataclass(frozen=True, slots=True)
class Answer:
    """Status and body; the body is JSON where there is one."""

    status: int
    body: Any
    text: str


class Client:
    """The service as one account sees it. Use as an asynchronous context manager."""

    def __init__(self, settings: Settings) -> None:
        assert settings.qualicharge_url is not None
        self._settings = settings
        self._base = settings.qualicharge_url.rstrip("/")
        self._http: httpx.AsyncClient | None = None
        self._token: str | None = None
        self._token_until_s = 0.0
        self._login_from_s = 0.0
        self._login_error = ""  # of the last one, as long as no other went
        self._login = asyncio.Lock()

    async def __aenter__(self) -> "Client":
        trusted = await asyncio.to_thread(trust, self._settings)
        self._http = httpx.AsyncClient(
            timeout=self._settings.qualicharge_timeout_s,
            trust_env=False,
            verify=trusted,
            follow_redirects=False,
            headers={
                "User-Agent": self._settings.qualicharge_user_agent,
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

    # Points.

    async def create(self, row: dict[str, Any]) -> Answer:
        """A new point, or 409. Raises: Refused, Away, Lost."""
        return await self._ask("POST", "/statique/", row, also=(409,))

    async def update(self, row: dict[str, Any]) -> Answer:
        """A known point, or 404. Raises: Refused, Away, Lost."""
        return await self._ask("PUT", f"/statique/{row['id_pdc_itinerance']}", row, also=(404,))

    async def upsert(self, rows: Sequence[dict[str, Any]]) -> Answer:
        """New and known points, all or none. Raises: Refused, Away, Lost."""
        return await self._ask("POST", "/statique/bulk", list(rows))

    async def decommission(self, evse_uid: str) -> Answer:
        """Away with the point, or 404. Raises: Refused, Away, Lost."""
        return await self._ask("DELETE", f"/statique/{evse_uid}", also=(404,))

    async def recommission(self, evse_uid: str) -> Answer:
        """Back with the point, or 404. Raises: Refused, Away, Lost."""
        return await self._ask("POST", f"/statique/{evse_uid}/up", also=(404,))

    # Statuses and sessions.

    async def add_statuses(self, rows: Sequence[dict[str, Any]]) -> list[str]:
        """The service's names for them, in order; all or none. Raises: Refused, Away, Lost."""
        return await self._add("/dynamique/status/bulk", rows)

    async def add_sessions(self, rows: Sequence[dict[str, Any]]) -> list[str]:
        """As add_statuses."""
        return await self._add("/dynamique/session/bulk", rows)

    async def has_session(self, name: str) -> bool:
        """Whether it is stored. Raises: Refused, Away, Lost."""
        answer = await self._ask(
            "GET", "/dynamique/session/check", query={"session_id": name}, also=(404,)
        )
        return answer.status == 200

    async def status_times(self, evse_uid: str, from_at: str) -> list[str]:
        """The horodatage of a point's stored statuses since then. Raises: Refused, Away, Lost."""
        answer = await self._ask(
            "GET", f"/dynamique/status/{evse_uid}/history", query={"from": from_at}, also=(404,)
        )
        if answer.status == 404:
            return []
        try:
            return [str(status["horodatage"]) for status in answer.body]
        except (KeyError, TypeError):
            raise Lost("an answer that is no list of statuses") from None

    async def _add(self, path: str, rows: Sequence[dict[str, Any]]) -> list[str]:
        answer = await self._ask("POST", path, list(rows))
        names = answer.body.get("items") if isinstance(answer.body, dict) else None
        if not isinstance(names, list) or len(names) != len(rows):
            raise Lost(f"{answer.status} without a name for each: {answer.text[:500]}")
        return [str(name) for name in names]

    # One request.

    async def _ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        query: dict[str, str] | None = None,
        also: tuple[int, ...] = (),
    ) -> Answer:
        """The answer, of the kind 2xx or `also`. A token that is refused is renewed once.

        Raises: Refused, Away, Lost.
        """
        token = await self._get_token()
        status, read, retry_after_s = await self._exchange(method, path, body, query, token)
        if status == 401:
            token = await self._get_token(refused=token)
            status, read, retry_after_s = await self._exchange(method, path, body, query, token)
        text = read.decode("utf-8", "replace")
        answered = f"{status} {text}".strip()
        if status in also:
            return Answer(status, None, text)
        if 200 <= status < 300:
            return Answer(status, _json(status, read), text)
        if status == 401:
            raise Away(f"the log-in is refused: {answered}")
        if status in _NOT_TAKEN or 300 <= status < 400:
            raise Away(answered, retry_after_s)
        if 400 <= status < 500:
            raise Refused(answered)
        raise Lost(answered)

    async def _exchange(
        self,
        method: str,
        path: str,
        body: Any,
        query: dict[str, str] | None,
        token: str,
    ) -> tuple[int, bytes, float | None]:
        """Status, body, and when to come back. Raises: Away when nothing was sent; Lost."""
        headers = {"Authorization": f"Bearer {token}"}
        content = None
        if body is not None:
            text = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
            content = gzip.compress(text.encode(), mtime=0)
            headers |= {"Content-Type": "application/json", "Content-Encoding": "gzip"}
        read = bytearray()
        try:
            async with asyncio.timeout(self._settings.qualicharge_timeout_s):
                return await self._read(method, path, content, query, headers, read)
        except UNSENT as error:
            raise Away(told(error)) from None
        except FAILED as error:
            names = [found.decode() for found in _UUID.findall(bytes(read))]
            raise Lost(f"no whole answer: {told(error)}", names) from None

    async def _read(
        self,
        method: str,
        path: str,
        content: bytes | None,
        query: dict[str, str] | None,
        headers: dict[str, str],
        read: bytearray,
    ) -> tuple[int, bytes, float | None]:
        assert self._http is not None
        async with self._http.stream(
            method, self._base + path, content=content, params=query, headers=headers
        ) as answer:
            async for part in answer.aiter_raw():
                read += part
                if len(read) > ANSWER_BYTES_MAX:
                    raise Lost(f"an answer of more than {ANSWER_BYTES_MAX} bytes")
            return answer.status_code, bytes(read), seconds(answer.headers.get("Retry-After"))

    async def _get_token(self, refused: str | None = None) -> str:
        """The token, a new one when its time is over or it was refused. Raises: Away."""
        async with self._login:
            now_s = asyncio.get_running_loop().time()
            if self._token is not None and self._token != refused and now_s < self._token_until_s:
                return self._token
            if now_s < self._login_from_s:
                waits = f"the log-in waits its turn; {self._login_error}".rstrip("; ")
                raise Away(waits, self._login_from_s - now_s)
            self._login_from_s = now_s + LOGIN_GAP_S
            try:
                self._token = await self._log_in()
            except Away as error:
                self._login_error = str(error)
                raise
            self._login_error = ""
            self._token_until_s = now_s + self._settings.qualicharge_token_s
            return self._token

    async def _log_in(self) -> str:
        """Raises: Away, whatever goes wrong: what was to be sent was not. Its text never holds what
        was sent."""
        assert self._http is not None
        form = {
            "username": self._settings.qualicharge_user,
            "password": self._settings.qualicharge_password,
        }
        try:
            async with asyncio.timeout(self._settings.qualicharge_timeout_s):
                answer = await self._http.post(f"{self._base}/auth/token", data=form)
        except FAILED as error:
            raise Away(f"no log-in: {told(error)}") from None
        if answer.status_code != 200 or len(answer.content) > ANSWER_BYTES_MAX:
            raise Away(f"no log-in: the service answers {answer.status_code}")
        try:
            return str(answer.json()["access_token"])
        except (ValueError, KeyError, TypeError):
            raise Away("no log-in: the service answers no token") from None


def _json(status: int, read: bytes) -> Any:
    """Raises: Lost for what is no JSON."""
    if not read:
        return None
    try:
        return json.loads(read)
    except ValueError:
        raise Lost(f"{status} with an answer that is no JSON") from None
