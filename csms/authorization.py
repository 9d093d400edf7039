"""May this badge charge here, now.

The decision is pure; the rows come from `csms.store.lookup.fetch_tokens`, read when the badge
is shown, so that a badge blocked a moment ago is refused now.
"""

from datetime import datetime
from typing import Final

from csms.domain.access import zone_named
from csms.domain.contract import closed_at
from csms.domain.events import Decision, Token
from csms.domain.reservation import keeps_out
from csms.domain.session import State
from csms.domain.station import Station

ACCEPTED: Final = Decision("Accepted")
UNKNOWN: Final = Decision("Unknown")

_REFUSED: Final = {"blocked": "Blocked", "expired": "Expired", "invalid": "Invalid"}


def decide(
    token: Token | None, station: Station, now: datetime, evse_id: int | None = None
) -> Decision:
    """Whether the badge may charge at the EVSE, or without one somewhere at the station, apart from
    its other sessions.

    `now` is the moment the badge was shown, as believed: a session that began offline is judged
    by the time at which it began. Where the client's contract is suspended or over nobody may
    start, and where a driver is blocked for unpaid invoices of the client she may not; but as long
    as a session runs at the station a badge is judged as ever: it may be there to end it.
    `decide_start` refuses what it begins.

    A badge that belongs to a driver charges where, and when, a group of hers has access, at public
    points, and at the sites that the badge itself names. A badge of nobody charges at the sites
    that it names, at every site where it names none. One of a partner's driver charges at the sites
    that roam with the partner, and at no other, public or not.
    """
    if token is None:
        return UNKNOWN
    if token.status != "accepted":
        return Decision(_REFUSED[token.status], token.group_uid, token.valid_until)
    may_charge = token.holder_may_charge(now)
    if may_charge is False:
        return Decision("Blocked", token.group_uid, token.valid_until)
    if token.valid_until is not None and now >= token.valid_until:
        return Decision("Expired", token.group_uid, token.valid_until)
    decision = _by_place(token, station, now, evse_id, is_drivers=may_charge is not None)
    if decision.status != "Accepted" or _is_charging(station):
        return decision
    return _to_begin(token, station, now) or decision


def _to_begin(token: Token, station: Station, now: datetime) -> Decision | None:
    """What refuses the badge to begin, but not to end a session: the client's contract, or that its
    driver leaves the client's invoices unpaid; None: nothing."""
    if closed_at(station.closures, now) is not None:
        return Decision("NotAtThisLocation", token.group_uid, token.valid_until)
    if token.owes(station.client_id, now):
        return Decision("NoCredit", token.group_uid, token.valid_until)
    return None


def _by_place(
    token: Token, station: Station, now: datetime, evse_id: int | None, *, is_drivers: bool
) -> Decision:
    if token.site_ids is not None and station.site_id in token.site_ids:
        return Decision("Accepted", token.group_uid, token.valid_until)
    if token.is_roaming:
        return Decision("NotAtThisLocation", token.group_uid, token.valid_until)
    if is_drivers and station.is_public(evse_id):
        return Decision("Accepted", token.group_uid, token.valid_until)
    if is_drivers:
        return _by_groups(token, station, now)
    if token.site_ids is not None:
        return Decision("NotAtThisLocation", token.group_uid, token.valid_until)
    return Decision("Accepted", token.group_uid, token.valid_until)


def _by_groups(token: Token, station: Station, now: datetime) -> Decision:
    """A driver's badge goes by her groups. What is accepted for some hours is told to be valid so
    long, so that no station lets her in later from its memory."""
    found = token.access(station.site_id, zone_named(station.time_zone), now)
    if found.open:
        ends = [moment for moment in (token.valid_until, found.until) if moment is not None]
        return Decision("Accepted", token.group_uid, min(ends, default=None))
    status = "NotAtThisLocation" if found.opens_at is None else "NotAtThisTime"
    return Decision(status, token.group_uid, token.valid_until)


def decide_start(
    token: Token | None,
    station: Station,
    evse_id: int | None,
    now: datetime,
    *,
    offline: bool,
    concurrent_max: int,
    opening: frozenset[int] = frozenset(),
    over: frozenset[int] = frozenset(),
) -> Decision:
    """Whether the badge may begin a session on the EVSE.

    The master of a group never does. `concurrent_max` bounds its open sessions elsewhere where the
    badge states no bound of its own, 0 is no bound; `opening` are sessions
    elsewhere not yet committed, `over` those whose end is not. A session that began offline is
    never refused for it: it has happened (field case 9). Sessions on the same EVSE do not count:
    this start ends them. What is reserved for others is refused, but to a session that began
    offline.
    """
    decision = decide(token, station, now, evse_id)
    if token is None or decision.status != "Accepted":
        return decision
    refused = _to_begin(token, station, now)
    if refused is not None:
        return refused
    if token.is_master:
        return Decision("Invalid", token.group_uid, token.valid_until)
    if not offline and is_kept_out(token, station, evse_id, now):
        return Decision("NotAtThisTime", token.group_uid, token.valid_until)
    if token.concurrent_max is not None:
        concurrent_max = token.concurrent_max
    if offline or concurrent_max <= 0:
        return decision
    elsewhere = {
        id
        for id, station_key, evse in token.open_sessions
        if (station_key, evse) != (station.key, evse_id)
    }
    if len((elsewhere | opening) - over) >= concurrent_max:
        return Decision("ConcurrentTx", token.group_uid, token.valid_until)
    return decision


def _is_charging(station: Station) -> bool:
    """Whether a session runs there for which a badge was accepted."""
    return any(
        session.state is State.ACTIVE and session.authorization_status == ACCEPTED.status
        for session in station.sessions.values()
    )


def decide_shown(token: Token | None, station: Station, now: datetime) -> Decision:
    """Whether a badge that is shown, at whichever EVSE, may charge at the station.

    Where every EVSE is reserved for others it may not; but as long as a session runs there it may
    be shown to end it, and `decide_start` has the last word.
    """
    decision = decide(token, station, now)
    if token is None or decision.status != "Accepted" or not station.reservations:
        return decision
    running = any(session.state is State.ACTIVE for session in station.sessions.values())
    if not running and is_kept_out(token, station, None, now):
        return Decision("NotAtThisTime", token.group_uid, token.valid_until)
    return decision


def is_kept_out(token: Token, station: Station, evse_id: int | None, now: datetime) -> bool:
    """Whether the EVSE, or with None every EVSE of the station, is reserved for others."""
    if not station.reservations:
        return False
    evses = frozenset(evse for evse, _ in station.evses if evse)
    return keeps_out(station.reservations, token.uid_key, evse_id, evses, now)
