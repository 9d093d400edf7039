"""Every page and every form, asked for oddly: no bug, no text that comes back as markup, and the
headers that close a page to other sites on whatever is answered."""

import re
import urllib.parse
from collections.abc import AsyncIterator
from html.parser import HTMLParser
from typing import Final

import httpx
import pytest
from fastapi import FastAPI
from psycopg_pool import AsyncConnectionPool

from csms.config import Settings
from csms.web.app import create_app
from tests.people_at_the_door import bearer, browser, csrf, log_in_page, person
from tests.scenarios.routes import pages

EMAIL: Final = "conductrice@example.org"
MARKUP: Final = "\"'><script>alert(1)</script>"
ODD: Final = (
    b"",
    b"\0",
    b"\xed\xa0\x80",  # half a surrogate
    b"\xff\xfe",
    b"x\r\nSet-Cookie: planted=1",
    MARKUP.encode(),
    b"{{ 7 * 7 }}{% raise %}",
    b"' OR 1=1; DROP TABLE person --",
    b"%s%(x)s",
    b"../../../etc/passwd",
    b"//evil.example",
    b"-1",
    b"99999999999999999999999",
    "é\u202e\u0000\U0001f50c".encode() * 100,
    b"a" * 8_000,
)
SCRIPTED: Final = ("/gestion",)  # htmx and nothing else
PUBLIC: Final = ("/docs", "/openapi.json", "/healthz", "/readyz", "/metrics", "/static")


@pytest.fixture
def app(pool: AsyncConnectionPool, people: AsyncConnectionPool, settings: Settings) -> FastAPI:
    return create_app(pool, settings, people=people)


@pytest.fixture
async def page(
    pool: AsyncConnectionPool, people: AsyncConnectionPool, settings: Settings
) -> AsyncIterator[httpx.AsyncClient]:
    async with browser(pool, people, settings) as client:
        yield client


def check(answer: httpx.Response) -> None:
    """What holds of every answer, whatever was asked."""
    told = f"{answer.request.method} {str(answer.request.url)[:300]}: {answer.status_code}"
    assert answer.status_code < 500, told
    headers = answer.headers
    for name, value in (
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("referrer-policy", "same-origin"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
    ):
        assert headers.get_list(name) == [value], told
    (policy,) = headers.get_list("content-security-policy")
    assert "default-src 'none'" in policy, told
    assert "frame-ancestors 'none'" in policy, told
    scripted = answer.request.url.path.startswith(SCRIPTED)
    assert ("script-src 'self'; connect-src 'self'" in policy) is scripted, told
    assert policy.count("script-src") == scripted, told
    assert "unsafe" not in policy, told
    if not answer.request.url.path.startswith(PUBLIC):
        assert headers.get_list("cache-control") == ["no-store"], told
    for cookie in headers.get_list("set-cookie"):
        assert re.match(r"t2p_(form|session|device)=", cookie), told
        assert "httponly" in cookie.lower(), told
        assert "samesite=lax" in cookie.lower(), told
    if 300 <= answer.status_code < 400 and "location" in headers:
        assert re.match(r"/(?![/\\])", headers["location"]), f"{told} to {headers['location']}"
    if headers.get("content-type", "").startswith("text/html"):
        scripts = re.findall("<script[^>]*>", answer.text.lower())
        ours = {'<script src="/static/htmx.min.js" defer>'} if scripted else set()
        assert set(scripts) <= ours, told
        assert "49" not in re.findall(r'value="([^"]*)"', answer.text), told


def quoted(value: bytes) -> str:
    return urllib.parse.quote_from_bytes(value, safe="")


@pytest.mark.parametrize("logged_in", [False, True], ids=["nobody", "somebody"])
async def test_odd_addresses_and_parameters_break_no_page(
    app: FastAPI, page: httpx.AsyncClient, pool: AsyncConnectionPool, logged_in: bool
) -> None:
    await person(pool)
    if logged_in:
        assert (await log_in_page(page)).status_code == 303
    asked = 0
    for route in pages(app):
        if route.method != "GET":
            continue
        for odd in ODD:
            value = quoted(odd)
            path = re.sub(r"\{[^}]+\}", lambda _, value=value: value, route.path)
            query = f"next={value}&done={value}&lang={value}&lang=en&{value}={value}"
            for address in {path, f"{path}?{query}", f"{path}/{value}"}:
                check(await page.get(address))
                asked += 1
    assert asked > 200
    if logged_in:
        assert (await page.get("/account")).status_code == 200


class Forms(HTMLParser):
    """The forms of a page: where each goes, with its fields."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.found.append((told["action"], {}))
        elif tag in ("input", "select", "textarea") and "name" in told:
            self.found[-1][1][told["name"]] = told.get("value", "")


async def test_odd_fields_break_no_form(
    app: FastAPI, page: httpx.AsyncClient, pool: AsyncConnectionPool
) -> None:
    await person(pool)
    before = {path: Forms((await page.get(path)).text) for path in ("/login", "/reset")}
    assert (await log_in_page(page)).status_code == 303
    after = {"/account": Forms((await page.get("/account")).text)}
    sent = set()
    for forms in (after, before):
        if forms is before:
            page.cookies.clear()
        for path, read in forms.items():
            for at, (action, fields) in enumerate(read.found):
                for name in fields:
                    for odd in ODD:
                        shown = Forms((await page.get(path)).text).found[at][1]
                        values = {n: quoted(v.encode()) for n, v in shown.items()}
                        values[name] = quoted(odd)
                        answer = await page.post(
                            action,
                            content="&".join(f"{n}={v}" for n, v in values.items()),
                            headers={"Content-Type": "application/x-www-form-urlencoded"},
                        )
                        check(answer)
                        assert answer.status_code != 403 or name == "csrf"
                        sent.add((action, name))
    assert {"/login", "/reset", "/account/profile", "/account/email"} <= {form for form, _ in sent}


async def test_every_form_is_refused_without_its_token_and_from_other_sites(
    app: FastAPI, page: httpx.AsyncClient, pool: AsyncConnectionPool
) -> None:
    await person(pool)
    await log_in_page(page)
    good = csrf(await page.get("/account"))
    forms = [route for route in pages(app) if route.method != "GET"]
    assert len(forms) > 10
    for route in forms:
        path = re.sub(r"\{[^}]+\}", "1", route.path)
        for token, headers in (
            ("", {}),
            ("0" * 64, {}),
            (good, {"Origin": "https://evil.example"}),
            (good, {"Origin": "null"}),
            (good, {"Sec-Fetch-Site": "cross-site"}),
        ):
            answer = await page.request(route.method, path, data={"csrf": token}, headers=headers)
            assert answer.status_code == 403, (str(route), token, headers)
            check(answer)
    assert (await page.get("/account")).status_code == 200


async def test_what_is_refused_and_what_is_not_there_have_the_headers_too(
    app: FastAPI, page: httpx.AsyncClient
) -> None:
    for method, path, status in (
        ("GET", "/nothing", 404),
        ("GET", "/api/v1/nothing", 401),
        ("GET", "/api/v1/stations", 401),
        ("DELETE", "/login", 405),
        ("POST", "/login", 403),
        ("POST", "/api/v1/auth/log-in", 422),
        ("GET", "/static/nothing", 404),
        ("GET", "/static/%2e%2e/app.py", 404),
        ("GET", "/p/nothing", 404),
    ):
        answer = await page.request(method, path)
        assert (path, answer.status_code) == (path, status)
        check(answer)
    too_long = await page.post("/login", content=b"a" * (8 * 1024 * 1024 + 1))
    assert too_long.status_code == 413
    check(too_long)


async def test_a_bug_is_answered_with_the_headers_and_says_nothing_of_itself(
    app: FastAPI,
) -> None:
    @app.get("/broken")
    async def broken() -> None:
        raise RuntimeError("a secret of ours")

    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        answer = await client.get("/broken")
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert "secret" not in answer.text
    answer.status_code = 200
    check(answer)


async def test_other_sites_may_read_nothing(app: FastAPI, page: httpx.AsyncClient) -> None:
    elsewhere = {"Origin": "https://evil.example", "Access-Control-Request-Method": "GET"}
    for method in ("GET", "OPTIONS"):
        for path in ("/", "/login", "/api/v1/stations", "/openapi.json"):
            answer = await page.request(method, path, headers=elsewhere | bearer("x"))
            assert not [name for name in answer.headers if name.startswith("access-control")]
