"""Stickers of points, and the public page to which they lead."""

import asyncio
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Path, Query, Request, Response

from csms import stickers
from csms.config import Settings
from csms.domain import point
from csms.domain.point import State
from csms.points import label_of
from csms.registry import NotThere
from csms.stickers import Sticker
from csms.store import points as store
from csms.store.points import Address
from csms.web.fields import Name
from csms.web.guard import Pool, Reader
from csms.web.me_points_api import address_of
from csms.web.problems import documented
from csms.web.rendering import language_of, page

router = APIRouter()
page_router = APIRouter(include_in_schema=False)

_PDF: Final[dict[int | str, dict[str, Any]]] = {
    200: {"content": {"application/pdf": {}}, "description": "Labels, eight on an A4 sheet."}
}

_STATES: Final = {
    "fr": {
        State.FREE: "Libre",
        State.PLUGGED: "Un véhicule est branché",
        State.OCCUPIED: "Occupé",
        State.RESERVED: "Réservé",
        State.OUT_OF_ORDER: "Hors service",
        State.OFFLINE: "Hors ligne",
        State.UNKNOWN: "État inconnu",
    },
    "en": {
        State.FREE: "Free",
        State.PLUGGED: "A car is plugged in",
        State.OCCUPIED: "In use",
        State.RESERVED: "Reserved",
        State.OUT_OF_ORDER: "Out of order",
        State.OFFLINE: "Offline",
        State.UNKNOWN: "State unknown",
    },
}
_TEXTS: Final = {
    "fr": {
        "title": "Point de charge",
        "login": "Connectez-vous pour charger",
        "nothing": "Aucun point de charge ne porte ce code.",
        "help": "Assistance :",
    },
    "en": {
        "title": "Charge point",
        "login": "Log in to charge",
        "nothing": "No charge point has this code.",
        "help": "Help:",
    },
}


@router.get(
    "/points/stickers.pdf",
    summary="Stickers of a site's points",
    tags=["Clients and sites"],
    response_class=Response,
    responses={**_PDF, **documented(403, 404)},
)
async def print_stickers(
    request: Request,
    reader: Reader,
    site_id: Annotated[Name, Query(description="The site.")],
    language: Annotated[Literal["fr", "en"], Query(description="Of the words on them.")] = "fr",
) -> Response:
    """A label for each point of the site, with the QR code of the point's address, to operators and
    to managers of the site's client."""
    settings: Settings = request.app.state.settings
    async with reader.connection() as connection:
        rows = await store.list_stickers(connection, site_id, settings.sticker_points_max)
    if not rows:
        raise NotThere(f"There is no point at site {site_id}.")
    labels = [
        Sticker(
            address_of(request, row.code),
            row.code,
            row.site_name or site_id,
            label_of(row.evse_static, row.station_id, row.evse_id),
            row.evse_uid,
        )
        for row in rows
    ]
    made = await asyncio.to_thread(
        stickers.make_pdf, labels, phone=settings.support_phone, language=language
    )
    return Response(
        made,
        media_type="application/pdf",
        headers={"Content-Disposition": 'inline; filename="stickers.pdf"'},
    )


@page_router.get("/p/{code}", response_model=None)
async def point_page(
    request: Request, pool: Pool, code: Annotated[str, Path(max_length=20)]
) -> Response:
    """What the sticker of a point leads to, for whoever reads it: its name, and where it is public
    how it stands."""
    found = None
    if code.isascii() and code.isalnum():
        async with pool.connection() as connection:
            found = await store.get_address(connection, code.upper())
    language = language_of(request)
    words = _TEXTS[language]
    values: dict[str, Any] = {"name": words["title"], "label": None, "code": "", "state": None}
    if found is not None:
        label = label_of(found.evse_static, found.station_id, found.evse_id)
        values = {"name": found.site_name or label, "label": label, "code": found.code}
        values["state"] = _STATES[language][_state(found)] if found.public else None
    return page(
        request,
        "point.html",
        status=200 if found is not None else 404,
        words=words,
        phone=request.app.state.settings.support_phone,
        **values,
    )


def _state(found: Address) -> State:
    return point.standing(
        status=found.status,
        status_at=found.status_at,
        connected=found.connected,
        disconnected_at=found.disconnected_at,
        occupied_since=found.occupied_since,
        my_session=False,
        holds=(),
        now=datetime.now(UTC),
    ).state
