"""A small, faithful operator of charge points for tests of the simulated hub: it is not ours.

It answers what a hub asks of a CPO in OCPI 2.2.1. What a test needs to be wrong is wrong by
`spoil`, which may change any answer.
"""

import asyncio
import base64
import json
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import httpx
import uvicorn
from fastapi import FastAPI, Request, Response

CPO = ("FR", "T2P")
NOW = "2026-11-27T06:00:00Z"
ROUTE = ("country-code", "party-id")


@dataclass
class Given:
    """An answer before it goes out."""

    data: Any = None
    status_code: int = 1000
    http_status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    echo: bool = True
    media_type: str = "application/json"


class SmallCpo:
    """A CPO with one token A, lists of documents, and an order book."""

    def __init__(self, party: tuple[str, str] = CPO) -> None:
        self.party = party
        self.token_a, self.token_c = "token-a", "token-c"
        self.hub_token: str | None = None
        self.hub_versions: str | None = None
        self.hub_endpoints: dict[str, str] = {}
        self.lists: dict[str, list[dict[str, Any]]] = {
            name: [] for name in ("locations", "sessions", "cdrs", "tariffs")
        }
        self.tokens: dict[str, dict[str, Any]] = {}
        self.orders: list[tuple[str, dict[str, Any]]] = []
        self.is_ordered = asyncio.Event()
        self.response = {"result": "ACCEPTED", "timeout": 30}
        self.page_max = 50
        self.spoil: Callable[[str, Given], None] = lambda path, given: None
        self.seen: list[tuple[str, str, dict[str, str]]] = []
        self.url = ""

    @property
    def versions_url(self) -> str:
        return f"{self.url}/cpo/versions"

    @asynccontextmanager
    async def serve(self) -> AsyncIterator["SmallCpo"]:
        """It listens on a free port, in this loop."""
        app = FastAPI(openapi_url=None)
        app.add_api_route(
            "/{path:path}", self._answer, methods=["GET", "POST", "PUT", "PATCH", "DELETE"]
        )
        config = uvicorn.Config(app, port=0, log_config=None, lifespan="off")
        server = uvicorn.Server(config)
        config.load()
        server.lifespan = config.lifespan_class(config)
        await server.startup()
        self.url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            await server.shutdown()

    async def _answer(self, request: Request) -> Response:
        path = request.url.path.removeprefix("/cpo/")
        self.seen.append((request.method, path, dict(request.headers)))
        content = await request.body()
        body = json.loads(content) if content else None
        given = await self._do(request, path, body)
        self.spoil(path, given)
        headers = dict(given.headers)
        if given.echo:
            for name in ("X-Request-ID", "X-Correlation-ID"):
                headers[name] = request.headers[name]
        if "OCPI-to-party-id" in request.headers and given.http_status != 401:
            for what in ROUTE:
                headers.setdefault(f"OCPI-from-{what}", request.headers[f"OCPI-to-{what}"])
                headers.setdefault(f"OCPI-to-{what}", request.headers[f"OCPI-from-{what}"])
        envelope = {"status_code": given.status_code, "timestamp": NOW}
        if given.data is not None:
            envelope["data"] = given.data
        return Response(json.dumps(envelope), given.http_status, headers, given.media_type)

    async def _do(self, request: Request, path: str, body: Any) -> Given:
        kind, _, text = request.headers.get("Authorization", "").partition(" ")
        token = base64.b64decode(text).decode() if kind == "Token" else ""
        parts = path.split("/")
        opens = parts[0] in ("versions", "2.2.1", "credentials")
        if token != self.token_c and not (opens and token == self.token_a):
            return Given(None, 2000, 401)
        if path == "versions":
            return Given([{"version": "2.2.1", "url": f"{self.url}/cpo/2.2.1"}])
        if path == "2.2.1":
            return Given({"version": "2.2.1", "endpoints": self._endpoints()})
        if path == "credentials":
            return await self._credentials(request.method, token, body)
        if parts[0] == "tokens":
            return self._token(request.method, parts, body)
        if parts[0] == "commands":
            self.orders.append((parts[1], body))
            self.is_ordered.set()
            return Given(dict(self.response))
        if len(parts) > 1:
            found = [each for each in self.lists[parts[0]] if each["id"] == parts[1]]
            return Given(found[0]) if found else Given(None, 2003, 404)
        return self._list(request, parts[0])

    def _endpoints(self) -> list[dict[str, str]]:
        roles = dict.fromkeys(("locations", "sessions", "cdrs", "tariffs"), "SENDER")
        roles |= {"tokens": "RECEIVER", "commands": "RECEIVER", "credentials": "RECEIVER"}
        return [
            {"identifier": name, "role": role, "url": f"{self.url}/cpo/{name}"}
            for name, role in roles.items()
        ]

    def credentials(self, token: str) -> dict[str, Any]:
        """What it presents."""
        country_code, party_id = self.party
        role = {"role": "CPO", "country_code": country_code, "party_id": party_id}
        details = {"business_details": {"name": "Small operator"}}
        return {"token": token, "url": self.versions_url, "roles": [role | details]}

    async def _credentials(self, method: str, token: str, body: Any) -> Given:
        if method == "DELETE" and token == self.token_c:
            self.token_c = "void"
            return Given()
        if method != "POST" or token != self.token_a:
            return Given(None, 2000, 405)
        self.hub_token, self.hub_versions = body["token"], body["url"]
        await self.discover()
        return Given(self.credentials(self.token_c))

    async def discover(self) -> None:
        """Read the hub's versions and details."""
        assert self.hub_versions
        versions = (await self.ask("GET", self.hub_versions, routed=False)).json()["data"]
        url = next(each["url"] for each in versions if each["version"] == "2.2.1")
        details = (await self.ask("GET", url, routed=False)).json()["data"]
        self.hub_endpoints = {each["identifier"]: each["url"] for each in details["endpoints"]}

    async def ask(
        self,
        method: str,
        url: str,
        body: Any = None,
        *,
        routed: bool = True,
        headers: dict[str, str | None] | None = None,
        timeout_s: float = 5.0,
        content: bytes | None = None,
    ) -> httpx.Response:
        """A request to the hub as it must be; `headers` replace, None leaves one out."""
        token = base64.b64encode((self.hub_token or "").encode()).decode()
        sent: dict[str, str | None] = {
            "Authorization": f"Token {token}",
            "X-Request-ID": str(uuid.uuid4()),
            "X-Correlation-ID": str(uuid.uuid4()),
        }
        if routed:
            country_code, party_id = self.party
            sent |= {"OCPI-from-country-code": country_code, "OCPI-from-party-id": party_id}
            sent |= {"OCPI-to-country-code": "FR", "OCPI-to-party-id": "107"}
        if content is not None:
            sent["Content-Type"] = "application/json"
        sent |= headers or {}
        kept = {name: value for name, value in sent.items() if value is not None}
        async with httpx.AsyncClient(timeout=timeout_s, verify=False) as client:
            return await client.request(method, url, headers=kept, json=body, content=content)

    async def tell(
        self, method: str, module: str, *parts: str, body: Any = None, **how: Any
    ) -> httpx.Response:
        """A request to a module of the hub."""
        url = "/".join((self.hub_endpoints[module], *parts))
        return await self.ask(method, url, body, **how)

    def _token(self, method: str, parts: list[str], body: Any) -> Given:
        key = "/".join(parts[1:])
        known = self.tokens.get(key)
        if method == "GET":
            return Given(known) if known else Given(None, 2004, 404)
        if known is None or body["last_updated"] >= known["last_updated"]:
            self.tokens[key] = (known or {}) | body
        return Given()

    def _list(self, request: Request, module: str) -> Given:
        query = request.query_params
        found = [
            each
            for each in self.lists[module]
            if query.get("date_from", "") <= each["last_updated"] < query.get("date_to", "9")
        ]
        offset = int(query.get("offset", 0))
        limit = min(int(query.get("limit", self.page_max)), self.page_max)
        headers = {"X-Total-Count": str(len(found)), "X-Limit": str(limit)}
        if offset + limit < len(found):
            asked = {**query, "offset": str(offset + limit), "limit": str(limit)}
            headers["Link"] = f'<{self.url}/cpo/{module}?{urlencode(asked)}>; rel="next"'
        return Given(found[offset : offset + limit], headers=headers)


def at(minute: int) -> str:
    """A time of the test's hour."""
    return f"{datetime(2026, 11, 27, 6, minute, tzinfo=UTC):%Y-%m-%dT%H:%M:%S}Z"
