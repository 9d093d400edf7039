"""The API is asked what its own description allows, and what it forbids, by everybody.

Schemathesis writes the requests from the application's OpenAPI document; to each one the
identifiers of client A or B are added, or not. Whatever is asked: no answer is a bug of ours, each
is one that the description tells, and nobody of client A is told the word beta.

What is asked is the same every time. T2P_FUZZ_EXAMPLES says how many requests of each operation are
made up, for a longer look.
"""

import asyncio
import copy
import json
import logging
import os
import traceback
from collections import Counter
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

import httpx
import pytest
import requests
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from psycopg_pool import AsyncConnectionPool
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from starlette.types import Receive, Scope, Send

from csms import principals
from csms.config import Settings
from csms.db import Database, connect
from csms.web import guard
from csms.web.app import create_app
from tests.scenarios import two_clients

EXAMPLES: Final = int(os.environ.get("T2P_FUZZ_EXAMPLES", "2"))
ONLY: Final = os.environ.get("T2P_FUZZ_ONLY", "")  # a part of an operation's name
TIMEOUT_S: Final = 120 + 120 * EXAMPLES

HALF: Final = "\ue000"  # sent as half a character, which Schemathesis cannot hold
_DEEP: Final = json.loads('{"a":' * 200 + "0" + "}" * 200)
ODD_TEXTS: Final = (
    "\0",
    "",
    " ",
    "é\u202e\U0001f50c",
    "a" * 5_000,
    "%",
    "%00",
    "..",
    "' OR 1=1 --",
    "-1",
    "NaN",
    "0",
    "9223372036854775807",
    "9223372036854775808",
    "2147483648",
    "1e400",
    "true",
    "null",
    "0001-01-01",
    "9999-12-31",
    "2026-02-30",
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59-14:00",
    "2026-10-25T02:30:00+02:00",
    "2026-06-30T23:59:60Z",
    "24:00",
    "{}",
    "[]",
)
ODD: Final = (
    *ODD_TEXTS,
    HALF,
    None,
    True,
    0,
    -1,
    2**31,
    2**63 - 1,
    2**63,
    10**400,
    1.5,
    -0.0,
    1e308,
    [],
    {},
    [[]],
    {"": None},
    ["\0"],
    {"\0": 1},
    [1] * 2_000,
    _DEEP,
)
NUMBERS: Final = ("1", "2")  # of what has no other identifier: of A, and of B
PEOPLE_OF_A: Final = ("nobody", "driver", "manager", "key of a client")
CHECKS: Final = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
SETTINGS: Final = hypothesis_settings(
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


class World(logging.Handler):
    """The application with its two clients and everybody's log-ins, and what broke in it."""

    def __init__(self, app: FastAPI, pool: AsyncConnectionPool) -> None:
        super().__init__(logging.ERROR)
        self.app = app
        self.broken: list[str] = []
        self.served: Counter[str] = Counter()  # how often each was answered what was asked for
        self._pool = pool
        self._loop = asyncio.get_running_loop()
        self._bearers: dict[str, str | None] = {}
        self._client = httpx.AsyncClient(
            transport=httpx.ASGITransport(self._watched, raise_app_exceptions=False),
            base_url="http://test",
            timeout=30,
        )

    @asynccontextmanager
    async def opened(self) -> AsyncIterator["World"]:
        """With everybody logged in."""
        async with self._pool.connection() as connection:
            self._bearers = await two_clients.log_everybody_in(connection)
        logging.getLogger("csms").addHandler(self)
        try:
            async with self._client:
                yield self
        finally:
            logging.getLogger("csms").removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """What the application says it could not do."""
        self.broken.append(record.getMessage())

    async def _watched(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self.app(scope, receive, send)
        except Exception:
            self.broken.append(traceback.format_exc(limit=-6))
            raise

    def ask(self, who: str, case: schemathesis.Case) -> httpx.Response:
        """Send what a case says, from another thread."""
        kwargs = case.as_transport_kwargs(base_url="http://test")
        names = ("method", "url", "headers", "params", "json", "data", "files", "cookies")
        prepared = requests.Request(
            **{name: kwargs[name] for name in names if name in kwargs}
        ).prepare()
        answer = self._send(who, prepared)
        if answer.status_code == 401 and who in two_clients.NUMBERS and case.path not in guard.OPEN:
            self._await(self._renew(who))  # what was asked before has ended the log-in
            answer = self._send(who, prepared)
        self.served[who] += answer.is_success
        return answer

    def _send(self, who: str, prepared: requests.PreparedRequest) -> httpx.Response:
        ours = ("authorization", "content-length")
        headers = {n: v for n, v in prepared.headers.items() if n.lower() not in ours}
        content = prepared.body
        if isinstance(content, bytes):
            content = content.replace(HALF.encode(), rb"\ud800").replace(rb"\ue000", rb"\ud800")
        if self._bearers[who] is not None:
            headers["Authorization"] = f"Bearer {self._bearers[who]}"
        request = httpx.Request(
            prepared.method or "", prepared.url or "", headers=headers, content=content
        )
        return self._await(self._client.send(request))

    def _await(self, what: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(what, self._loop).result(60)

    async def _renew(self, who: str) -> None:
        async with self._pool.connection() as connection:
            self._bearers[who] = await two_clients.log_in(connection, two_clients.NUMBERS[who])


@pytest.fixture
async def world(
    database: Database, pool: AsyncConnectionPool, people: AsyncConnectionPool, settings: Settings
) -> AsyncIterator[World]:
    async with await connect(database, owner=True) as owner:
        await owner.execute(two_clients.WORLD.encode())
    async with World(create_app(pool, settings, people=people), pool).opened() as world:
        yield world


def explore(world: World, whos: tuple[str, ...], mode: str) -> list[str]:
    """Ask everything as each of them; what was wrong."""
    document = world.app.openapi()
    described = schemathesis.openapi.from_dict(document).get_all_operations()
    wrong: list[str] = []
    for operation in sorted((found.ok() for found in described), key=ends_something):
        if ONLY in operation.label:
            examples = examples_of(document, operation.path, operation.method)
            with suppress(Unsatisfiable):  # where nothing can be sent, nothing is forbidden
                wrong += ask(world, whos, mode, operation, examples)
    return wrong


def ask(
    world: World, whos: tuple[str, ...], mode: str, operation: Any, examples: list[Any]
) -> list[str]:
    """Ask one operation; what was wrong. Raises: Unsatisfiable."""
    kind = GenerationMode.NEGATIVE if mode == "forbidden" else GenerationMode.POSITIVE
    wrong: list[str] = []

    @hypothesis_settings(SETTINGS, max_examples=EXAMPLES)
    @given(
        case=operation.as_strategy(generation_mode=kind),
        whose=st.sampled_from((0, None, 0, 1)),
        data=st.data(),
    )
    def run(case: schemathesis.Case, whose: int | None, data: st.DataObject) -> None:
        if mode == "odd" and examples:
            case.body = copy.deepcopy(data.draw(st.sampled_from(examples)))
        plant(case, whose)
        if mode == "odd":
            spoil(case, data)
        for who in whos:
            wrong.extend(judged(world, who, case))

    run()
    return wrong


def ends_something(operation: Any) -> bool:
    """Whether little is left to be asked about afterwards."""
    return bool(operation.method == "delete" or operation.path.endswith(("/close", "/acts")))


def examples_of(document: dict[str, Any], path: str, method: str) -> list[Any]:
    """Bodies that the description gives as examples."""
    content = document["paths"][path][method].get("requestBody", {}).get("content", {})
    reference = content.get("application/json", {}).get("schema", {}).get("$ref", "")
    schema = document["components"]["schemas"].get(reference.rpartition("/")[2], {})
    return list(schema.get("examples", ()))


def spoil(case: schemathesis.Case, data: st.DataObject) -> None:
    """Put something odd in the place of one value of a request, if it has any."""
    places: list[tuple[Any, Any]] = []
    rest = [case.body]
    while rest:
        part = rest.pop()
        if isinstance(part, dict | list):
            inner = part.items() if isinstance(part, dict) else enumerate(part)
            places += [(part, at) for at, _ in inner]
            rest += [value for _, value in inner]
    if not places or data.draw(st.integers(0, 3)) == 0:
        places = [(case.query, at) for at in case.query]
        places += [(case.path_parameters, at) for at in case.path_parameters]
    if places:
        part, at = data.draw(st.sampled_from(places))
        odd: Sequence[Any] = ODD
        if part is case.query:
            odd = ODD_TEXTS
        elif part is case.path_parameters:  # without those that make another address
            odd = [text for text in ODD_TEXTS if text not in ("", "..")]
        part[at] = copy.deepcopy(data.draw(st.sampled_from(odd)))


def plant(case: schemathesis.Case, whose: int | None) -> None:
    """Put A's (0) or B's (1) identifiers into a request."""
    if isinstance(case.body, dict) and case.path.endswith("/commands"):
        case.body["wait_s"] = 0  # nobody is connected who could answer
    if whose is None:
        return
    for part in case.path_parameters or {}:
        case.path_parameters[part] = two_clients.VALUES.get(part, NUMBERS)[whose]
    for members in (case.query, case.body):
        if isinstance(members, dict):
            for part, former in members.items():
                if part in two_clients.VALUES or part.endswith("_id"):
                    value = two_clients.VALUES.get(part, NUMBERS)[whose]
                    number = value.isdigit() and not isinstance(former, str)
                    members[part] = int(value) if number else value


def judged(world: World, who: str, case: schemathesis.Case) -> list[str]:
    """What is wrong with the answer."""
    world.broken.clear()
    answer = world.ask(who, case)
    sent = f"{case.method} {answer.request.url} {answer.request.content[:300]!r} as {who}"
    if world.broken:
        return [f"{sent}: {world.broken[-1]}"]
    found = []
    try:
        case.validate_response(answer, checks=CHECKS)
    except FailureGroup as failures:
        for failure in failures.exceptions:
            found.append(f"{sent}: {str(failure)[:1500]}")
    if who in PEOPLE_OF_A and "beta" in unasked(answer):
        found.append(f"{sent} is told: {answer.text[:1500]}")
    return found


def unasked(answer: httpx.Response) -> str:
    """What is told, but for what was asked, and for what one did oneself."""
    text = answer.text
    if answer.request.url.path == "/api/v1/audit" and answer.status_code == 200:
        items = answer.json()["items"]
        text = str([e for e in items if e["actor"] not in two_clients.OURS])
    text = text.lower()
    asked = (str(answer.request.url) + answer.request.content.decode("utf-8", "replace")).lower()
    for _, of_b in two_clients.VALUES.values():
        if of_b.lower() in asked:
            text = text.replace(of_b.lower(), "")
    return text


@pytest.mark.timeout(TIMEOUT_S)
@pytest.mark.parametrize("mode", ["allowed", "forbidden", "odd"])
@pytest.mark.parametrize("whos", [PEOPLE_OF_A, principals.ROLES], ids=["client", "operators"])
async def test_whatever_is_asked_the_answer_is_one_of_those_described(
    world: World, whos: tuple[str, ...], mode: str
) -> None:
    wrong = await asyncio.to_thread(explore, world, whos, mode)
    assert not wrong, f"{len(wrong)}\n" + "\n\n".join(wrong)
    for who in set(whos) - {"nobody"}:
        assert world.served[who] > 0, f"{who} was not even logged in"
