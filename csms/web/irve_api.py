"""The national files of public points at stable addresses, for whoever polls them.

Open to all, off until a setting says that they are published. What is sent is a copy that lasts
some seconds: however many ask, the database is asked once. A poller that names the copy it has
(`If-None-Match`) is told that nothing has changed.
"""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from fastapi import APIRouter, FastAPI, Request, Response
from psycopg_pool import AsyncConnectionPool

from csms.config import Settings
from csms.web.problems import Problem, documented
from reporting.irve.publication import Copy, Publication, TooManyPoints

router = APIRouter(prefix="/irve", tags=["Open data"])

_FILE: dict[int | str, dict[str, object]] = {
    200: {"content": {"text/csv": {}}, "description": "The file."},
    304: {"description": "Not changed since the copy that the caller has."},
}
_ETAGS_LENGTH_MAX = 4_096


def install(app: FastAPI, pool: AsyncConnectionPool, settings: Settings) -> None:
    """Put the files on the application."""
    app.state.irve = Publication(pool, settings)
    app.include_router(router)


@router.get(
    "/statique.csv",
    summary="The static IRVE file",
    response_class=Response,
    responses={**_FILE, **documented(404)},
    openapi_extra={"security": []},
)
async def get_static(request: Request) -> Response:
    """Points that are declared public and in force: etalab/schema-irve-statique 2.3.1, one row a
    point. 404 where the files are not published."""
    settings, publication = _published(request)
    return await _sent(
        request, "irve-statique.csv", settings.irve_static_cache_s, publication.static
    )


@router.get(
    "/dynamique.csv",
    summary="The dynamic IRVE file",
    response_class=Response,
    responses={**_FILE, **documented(404)},
    openapi_extra={"security": []},
)
async def get_dynamic(request: Request) -> Response:
    """How each point of the static file stands: etalab/schema-irve-dynamique 2.3.1. 404 where the
    files are not published."""
    settings, publication = _published(request)
    return await _sent(
        request, "irve-dynamique.csv", settings.irve_dynamic_cache_s, publication.dynamic
    )


# Checkers of links ask for the headers alone.
router.add_api_route("/statique.csv", get_static, methods=["HEAD"], include_in_schema=False)
router.add_api_route("/dynamique.csv", get_dynamic, methods=["HEAD"], include_in_schema=False)


def _published(request: Request) -> tuple[Settings, Publication]:
    """Raises: Problem (404)."""
    settings: Settings = request.app.state.settings
    publication: Publication = request.app.state.irve
    if not settings.irve_published:
        raise Problem(404, "The IRVE files are not published here.")
    return settings, publication


async def _sent(
    request: Request, name: str, lasts_s: float, read: Callable[[datetime], Awaitable[Copy]]
) -> Response:
    """Raises: Problem (503)."""
    try:
        copy = await read(datetime.now(UTC))
    except TooManyPoints as error:
        raise Problem(503, f"The file cannot be written: {error}.") from None
    except TimeoutError:
        raise Problem(503, "The database does not answer in time. Try again soon.") from None
    headers = {
        "ETag": copy.etag,
        "Cache-Control": f"public, max-age={int(lasts_s)}",
        "Content-Disposition": f'inline; filename="{name}"',
        "Access-Control-Allow-Origin": "*",  # pages that show open data fetch it from elsewhere
    }
    if _has(request, copy.etag):
        return Response(status_code=304, headers=headers)
    return Response(copy.content, headers=headers, media_type="text/csv")


def _has(request: Request, etag: str) -> bool:
    """Whether the caller says that it has this copy."""
    stated = request.headers.get("if-none-match", "")[:_ETAGS_LENGTH_MAX]
    tags = {part.strip().removeprefix("W/") for part in stated.split(",")}
    return "*" in tags or etag in tags
