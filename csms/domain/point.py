"""How a point stands, for a driver who looks at it; and why she may not charge there now.

Pure: facts in, words out. The sentences are for people; the codes are stable.
"""

from datetime import datetime
from enum import StrEnum
from typing import Final, NamedTuple


class State(StrEnum):
    """What a driver finds at a point."""

    FREE = "free"
    PLUGGED = "plugged"  # a car is there and does not charge: hers, perhaps
    OCCUPIED = "occupied"
    RESERVED = "reserved"
    OUT_OF_ORDER = "out_of_order"
    OFFLINE = "offline"
    UNKNOWN = "unknown"  # connected, and has told nothing of the point yet


class Hold(NamedTuple):
    """A reservation of the point; `id` only of her own."""

    from_at: datetime
    to_at: datetime
    id: int | None


class Standing(NamedTuple):
    """How a point stands for her."""

    state: State
    mine: bool  # occupied or reserved by herself
    since: datetime | None  # None: not known
    until: datetime | None = None  # a reservation's end
    reservation_id: int | None = None  # hers, which holds now


_OUT_OF_ORDER: Final = frozenset({"faulted", "unavailable"})
_PLUGGED: Final = frozenset({"preparing", "finishing", "occupied"})
_CHARGING: Final = frozenset({"charging", "suspended_ev", "suspended_evse"})


def standing(
    *,
    status: str,
    status_at: datetime | None,
    connected: bool,
    disconnected_at: datetime | None,
    occupied_since: datetime | None,
    my_session: bool,
    holds: tuple[Hold, ...],
    now: datetime,
) -> Standing:
    """How the point stands. What is known for certain comes first: a session of hers is hers even
    while the station is away."""
    hold = next((h for h in holds if h.from_at <= now < h.to_at), None)
    own = hold.id if hold is not None else None
    if my_session:
        return Standing(State.OCCUPIED, True, occupied_since, reservation_id=own)
    if not connected:
        return Standing(State.OFFLINE, False, disconnected_at, reservation_id=own)
    if status in _OUT_OF_ORDER:
        return Standing(State.OUT_OF_ORDER, False, status_at, reservation_id=own)
    if occupied_since is not None or status in _CHARGING:
        return Standing(State.OCCUPIED, False, occupied_since or status_at, reservation_id=own)
    if hold is not None:
        return Standing(State.RESERVED, own is not None, hold.from_at, hold.to_at, own)
    if status in _PLUGGED:
        return Standing(State.PLUGGED, False, status_at)
    if status == "reserved":  # by the station's own account
        return Standing(State.RESERVED, False, status_at)
    state = State.FREE if status == "available" else State.UNKNOWN
    return Standing(state, False, status_at)


class Why(StrEnum):
    """Why something cannot be had."""

    NOT_ALLOWED_HERE = "not_allowed_here"
    NOT_NOW = "not_now"
    BADGE_BLOCKED = "badge_blocked"
    INVOICES_UNPAID = "invoices_unpaid"
    ACCOUNT_CLOSED = "account_closed"
    POINT_OCCUPIED = "point_occupied"
    RESERVED_BY_ANOTHER = "reserved_by_another"
    POINT_OUT_OF_ORDER = "point_out_of_order"
    STATION_OFFLINE = "station_offline"
    STATION_REFUSED = "station_refused"
    STATION_IGNORES = "station_ignores"
    TOO_MANY_SESSIONS = "too_many_sessions"
    SERVICE_CLOSED = "service_closed"
    CONTRACT_SUSPENDED = "contract_suspended"
    SESSION_OVER = "session_over"
    KEY_REUSED = "key_reused"
    TOO_MANY_RESERVATIONS = "too_many_reservations"
    TOO_LONG = "too_long"
    TOO_SHORT = "too_short"
    TOO_FAR_AHEAD = "too_far_ahead"
    IN_THE_PAST = "in_the_past"
    RESERVATION_OVER = "reservation_over"
    TOO_MANY_STREAMS = "too_many_streams"


_SENTENCES: Final[dict[Why, tuple[str, str]]] = {
    Why.NOT_ALLOWED_HERE: (
        "Vous n’avez pas accès à ce point de charge.",
        "You may not charge at this point.",
    ),
    Why.NOT_NOW: (
        "Vous n’avez pas accès à ce point de charge à cette heure.",
        "You may not charge at this point at this hour.",
    ),
    Why.BADGE_BLOCKED: (
        "Votre badge d’application est bloqué ; contactez l’assistance.",
        "The badge of your app is blocked; please contact support.",
    ),
    Why.INVOICES_UNPAID: (
        "Des factures de recharges à cet endroit restent impayées ; réglez-les pour recharger de "
        "nouveau.",
        "Invoices for charging at this place are unpaid; pay them to charge again.",
    ),
    Why.ACCOUNT_CLOSED: ("Votre compte est fermé.", "Your account is closed."),
    Why.POINT_OCCUPIED: ("Ce point de charge est occupé.", "This point is in use."),
    Why.RESERVED_BY_ANOTHER: (
        "Ce point de charge est réservé par une autre personne.",
        "This point is reserved by somebody else.",
    ),
    Why.POINT_OUT_OF_ORDER: (
        "Ce point de charge est hors service.",
        "This point is out of order.",
    ),
    Why.STATION_OFFLINE: (
        "La borne n’est pas connectée : elle ne peut pas recevoir cette demande.",
        "The station is not connected: it cannot be told.",
    ),
    Why.STATION_REFUSED: ("La borne a refusé la demande.", "The station has refused."),
    Why.STATION_IGNORES: (
        "La borne n’a pas donné suite à la demande.",
        "The station did nothing about it.",
    ),
    Why.TOO_MANY_SESSIONS: (
        "Vous avez déjà une charge en cours ailleurs.",
        "You are charging elsewhere already.",
    ),
    Why.SERVICE_CLOSED: (
        "Ce service n’est pas ouvert sur ce site.",
        "This service is not open at this site.",
    ),
    Why.CONTRACT_SUSPENDED: (
        "Le service est suspendu sur ce site.",
        "The service is suspended at this site.",
    ),
    Why.SESSION_OVER: ("Cette charge est déjà terminée.", "This session is over already."),
    Why.KEY_REUSED: (
        "Cette clé d’idempotence a déjà servi pour une autre demande.",
        "This idempotency key was used for another request.",
    ),
    Why.TOO_MANY_RESERVATIONS: (
        "Vous avez déjà le nombre maximal de réservations : {bound}.",
        "You have as many reservations as you may have: {bound}.",
    ),
    Why.TOO_LONG: (
        "Une réservation dure au plus {bound} minutes ici.",
        "A reservation lasts at most {bound} minutes here.",
    ),
    Why.TOO_SHORT: (
        "Une réservation dure au moins {bound} minutes.",
        "A reservation lasts at least {bound} minutes.",
    ),
    Why.TOO_FAR_AHEAD: (
        "Une réservation commence au plus tard dans {bound} jours.",
        "A reservation begins within {bound} days at the latest.",
    ),
    Why.IN_THE_PAST: (
        "Une réservation ne peut pas commencer dans le passé.",
        "A reservation cannot begin in the past.",
    ),
    Why.RESERVATION_OVER: (
        "Cette réservation est déjà terminée.",
        "This reservation is over already.",
    ),
    Why.TOO_MANY_STREAMS: (
        "Trop de suivis en direct sont ouverts ; fermez-en un.",
        "Too many live streams are open; close one.",
    ),
}


def sentence(why: Why, language: str, bound: int = 0) -> str:
    """The reason for people, in French or (en) English."""
    french, english = _SENTENCES[why]
    return (english if language == "en" else french).format(bound=bound)


class Asked(NamedTuple):
    """A start that was asked for, as far as it has come."""

    state: str  # asked, accepted, started, refused
    why: Why | None = None  # of refused


_BADGE_WHY: Final = {
    "ConcurrentTx": Why.TOO_MANY_SESSIONS,
    "NotAtThisLocation": Why.NOT_ALLOWED_HERE,
    "NotAtThisTime": Why.NOT_NOW,
    "NoCredit": Why.INVOICES_UNPAID,
}


def asked(
    *,
    order_status: str | None,
    was_sent: bool,
    no_answer: bool,
    session_status: str | None,
    due_at: datetime,
    now: datetime,
) -> Asked:
    """What came of a start: by its session if there is one (`session_status` is what its badge was
    answered), else by its order. `no_answer`: the order failed for want of any."""
    if session_status is not None:
        if session_status in ("Accepted", "none"):
            return Asked("started")
        return Asked("refused", _BADGE_WHY.get(session_status, Why.BADGE_BLOCKED))
    if order_status == "accepted":
        return Asked("accepted") if now < due_at else Asked("refused", Why.STATION_IGNORES)
    if order_status in ("queued", "sent", None):
        if now < due_at:
            return Asked("asked")
        return Asked("refused", Why.STATION_IGNORES if was_sent else Why.STATION_OFFLINE)
    if order_status in ("expired", "cancelled"):
        return Asked("refused", Why.STATION_OFFLINE)
    if order_status == "failed" and no_answer:
        return Asked("refused", Why.STATION_IGNORES)
    return Asked("refused", Why.STATION_REFUSED)
