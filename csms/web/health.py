"""Health, readiness and metrics of a process, whichever parts it runs."""

import asyncio
from collections.abc import Awaitable, Callable

import psycopg
from fastapi import FastAPI
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from psycopg_pool import AsyncConnectionPool
from starlette.middleware import Middleware

from csms import db
from csms.config import Settings
from csms.web import problems
from csms.web.guard import Guard

Ready = Callable[[], Awaitable[dict[str, str]]]
"""The process's own conditions: what is not ready, by name, with the reason; empty is ready."""

READY_TIMEOUT_S = 2.0


class DatabaseProbe:
    """Asks the database whether it is ready: one question at a time, however many ask us, so that
    a database that takes questions and does not answer holds one connection and no request."""

    def __init__(self, pool: AsyncConnectionPool) -> None:
        self._pool = pool
        self._asking: asyncio.Task[dict[str, str]] | None = None

    async def reasons(self) -> dict[str, str]:
        """What keeps the database from being ready, by name; empty when it is."""
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(database_reasons(self._pool))
        asking = self._asking
        done, _ = await asyncio.wait([asking], timeout=READY_TIMEOUT_S)
        return await asking if done else {"database": "it does not answer"}


def create_app(pool: AsyncConnectionPool, settings: Settings, ready: Ready | None) -> FastAPI:
    """What a process without pages and API answers over HTTP: health, readiness and metrics."""
    app = FastAPI(
        openapi_url=None,
        redirect_slashes=False,
        middleware=[Middleware(Guard, pool=pool, settings=settings)],
    )
    problems.install(app)
    install(app, pool, ready)
    return app


def install(app: FastAPI, pool: AsyncConnectionPool, ready: Ready | None) -> None:
    """The operations that watchdogs and Prometheus ask."""
    probe = DatabaseProbe(pool)

    @app.get("/healthz", include_in_schema=False)
    async def healthz() -> dict[str, str]:
        """The process is alive."""
        return {"status": "alive"}

    @app.get("/readyz", include_in_schema=False)
    async def readyz() -> JSONResponse:
        """The database answers and is up to date, and so is the process; 503 says what is not."""
        reasons = await probe.reasons()
        if ready is not None:
            reasons |= await ready()
        status = "not ready" if reasons else "ready"
        return JSONResponse({"status": status, "reasons": reasons}, 503 if reasons else 200)

    @app.get("/metrics", include_in_schema=False)
    async def metrics() -> Response:
        """Prometheus metrics of this process."""
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


async def database_reasons(pool: AsyncConnectionPool) -> dict[str, str]:
    """What keeps the database from being ready, by name; empty when it is."""
    try:
        async with pool.connection(timeout=READY_TIMEOUT_S) as connection:
            await connection.execute("SELECT 1")
            missing = await db.missing_migrations(connection)
    except psycopg.Error:
        return {"database": "it does not answer"}
    except db.MigrationError as error:
        return {"migrations": str(error)}
    if missing:
        return {"migrations": "not applied: " + ", ".join(missing)}
    return {}
