"""What the hub was told, and whether one telling may follow another. Nothing here knows HTTP.

Every `take_...` keeps what it is given, or refuses it with Refusal; what it noticed it hands to
`complain`, in words.
"""

import re
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any, Final

from simulators.ocpi_hub.shapes import instant, problems

Key = tuple[str, str, str]
Document = dict[str, Any]
Complain = Callable[[str], None]

#: No session goes to the left; what is completed or invalid stays so, but may be declared invalid.
_ORDER: Final = ("RESERVATION", "PENDING", "ACTIVE", "COMPLETED", "INVALID")
_COSTS: Final = (
    *("total_fixed_cost", "total_energy_cost", "total_time_cost"),
    *("total_parking_cost", "total_reservation_cost"),
)
_OF_SESSION_ONLY: Final = frozenset(("CURRENT", "ENERGY_EXPORT", "POWER", "STATE_OF_CHARGE"))
_HALF_A_CENT: Final = Decimal("0.005")
#: A card of four or seven bytes, as the guide wants it.
RFID: Final = re.compile(r"[0-9A-F]{8}|[0-9A-F]{14}")
#: What tells a price; a tariff that says something else has another id.
_OF_PRICE: Final = ("currency", "type", "elements", "min_price", "max_price", "start_date_time")


class Refusal(Exception):
    """What was sent is not taken: the OCPI status and, where the layer below has one, HTTP's."""

    def __init__(self, ocpi_status: int, words: str, http_status: int = 200) -> None:
        super().__init__(words)
        self.ocpi_status, self.http_status, self.words = ocpi_status, http_status, words


class Held:
    """Objects by (country_code, party_id, id), as received, with patches applied.

    `issued`: the authorization references of each badge. `contracts`: the contract of each badge
    of the hub's partners.
    """

    def __init__(self) -> None:
        self.locations: dict[Key, Document] = {}
        self.tariffs: dict[Key, Document] = {}
        self.sessions: dict[Key, Document] = {}
        self.cdrs: dict[Key, Document] = {}
        self.acknowledged: set[Key] = set()  # CDRs of which a good answer went out
        self.issued: dict[str, set[str]] = {}
        self.contracts: dict[str, str] = {}

    # Locations.

    def take_location(self, key: Key, body: Document, complain: Complain) -> None:
        """A whole Location."""
        _check_shape("Location", body, complain)
        _check_owner(key, body, complain)
        _complain_all(_wanted_of_location(body), complain)
        if self._is_older(self.locations.get(key), body, complain):
            return
        self.locations[key] = body

    def take_evse(self, key: Key, uid: str, body: Document, complain: Complain) -> None:
        """A whole EVSE of a Location that is known."""
        location = self._location(key)
        _check_shape("EVSE", body, complain)
        _check_named({"uid": uid}, body, complain)
        _complain_all(_wanted_of_evse(body, key), complain)
        evses = location.setdefault("evses", [])
        old = _find(evses, "uid", uid)
        if self._is_older(old, body, complain):
            return
        _put(evses, old, body)
        _rise(body, location)

    def take_connector(
        self, key: Key, uid: str, connector_id: str, body: Document, complain: Complain
    ) -> None:
        """A whole Connector of an EVSE that is known."""
        location, evse = self._evse(key, uid)
        _check_shape("Connector", body, complain)
        _check_named({"id": connector_id}, body, complain)
        old = _find(evse["connectors"], "id", connector_id)
        if self._is_older(old, body, complain):
            return
        _put(evse["connectors"], old, body)
        _rise(body, evse, location)

    def patch_location(
        self, key: Key, parts: list[str], body: Document, complain: Complain
    ) -> None:
        """Changes of a Location, of its EVSE or of a Connector of that."""
        location = self._location(key)
        target, above, kind, named = location, [], "Location", _named(key)
        if parts:
            _, target = self._evse(key, parts[0])
            above, kind, named = [location], "EVSE", {"uid": parts[0]}
        if parts[1:]:
            connector = _find(target["connectors"], "id", parts[1])
            if connector is None:
                raise Refusal(2001, f"EVSE {parts[0]} has no connector {parts[1]}", 404)
            above = [target, location]
            target, kind, named = connector, "Connector", {"id": parts[1]}
        _check_shape(kind, body, complain, partial=True)
        _check_named(named, body, complain)
        if self._is_older(target, body, complain):
            return
        target.update(body)
        _rise(body, *above)

    def place(self, key: Key, parts: list[str]) -> Document:
        """The Location, EVSE or Connector. Raises: Refusal, 404, where it is not known."""
        if not parts:
            return self._location(key)
        _, evse = self._evse(key, parts[0])
        if not parts[1:]:
            return evse
        found = _find(evse["connectors"], "id", parts[1])
        if found is None:
            raise Refusal(2003, f"connector {parts[1]} of EVSE {parts[0]} is not known", 404)
        return found

    def _location(self, key: Key) -> Document:
        if key not in self.locations:
            raise Refusal(2003, f"location {'*'.join(key)} is not known", 404)
        return self.locations[key]

    def _evse(self, key: Key, uid: str) -> tuple[Document, Document]:
        location = self._location(key)
        found = _find(location.get("evses", []), "uid", uid)
        if found is None:
            raise Refusal(2003, f"location {'*'.join(key)} has no EVSE {uid}", 404)
        return location, found

    # Tariffs.

    def take_tariff(self, key: Key, body: Document, complain: Complain) -> None:
        """A whole Tariff; its price never changes under the same id."""
        _check_shape("Tariff", body, complain)
        _check_owner(key, body, complain)
        if "start_date_time" not in body:
            complain("the guide asks for start_date_time of a Tariff")
        targets = {"target_operator_country_code", "target_operator_party_id"} & body.keys()
        if len(targets) == 1:
            complain("the two fields of the target operator of a Tariff come together")
        old = self.tariffs.get(key)
        if self._is_older(old, body, complain):
            return
        changed = [name for name in _OF_PRICE if old and old.get(name) != body.get(name)]
        if changed and not targets:
            complain(f"a tariff is immutable, and changed its {', '.join(changed)}")
        self.tariffs[key] = body

    # Sessions.

    def take_session(self, key: Key, body: Document, complain: Complain) -> None:
        """A whole Session, at a place that is known."""
        _check_shape("Session", body, complain)
        _check_owner(key, body, complain)
        self._check_place(key, body, complain)
        self._keep_session(key, body, complain)

    def patch_session(self, key: Key, body: Document, complain: Complain) -> None:
        """Changes of a Session; new charging periods come after those that are known."""
        if key not in self.sessions:
            raise Refusal(2001, f"session {'*'.join(key)} is not known", 404)
        _check_shape("Session", body, complain, partial=True)
        _check_named(_named(key), body, complain)
        old = self.sessions[key]
        merged = old | body
        if "charging_periods" in body:
            merged["charging_periods"] = [
                *old.get("charging_periods", []),
                *body["charging_periods"],
            ]
        self._keep_session(key, merged, complain)

    def _keep_session(self, key: Key, body: Document, complain: Complain) -> None:
        old = self.sessions.get(key)
        if self._is_older(old, body, complain):
            return
        _complain_all(self._of_token(body), complain)
        if body["status"] == "COMPLETED" and "end_date_time" not in body:
            complain("a session that is COMPLETED has an end_date_time")
        _complain_all(_disordered(body), complain)
        if old is not None:
            _complain_all(_steps_back(old, body), complain)
        self.sessions[key] = body

    def _check_place(self, key: Key, body: Document, complain: Complain) -> None:
        place = (key[0], key[1], body["location_id"])
        parts = [body["evse_uid"], body["connector_id"]]
        if body["status"] == "RESERVATION":
            parts = [part for part in parts if part != "#NA"]  # not assigned yet
        try:
            self.place(place, parts)
        except Refusal as refusal:
            complain(f"a session at a place that the hub was not told of: {refusal.words}")
            raise Refusal(2003, refusal.words) from None

    def _of_token(self, body: Document) -> Iterable[str]:
        """What is wrong with whom a Session or CDR names, and how she was authorised."""
        token = body["cdr_token"]
        if (token["country_code"], token["party_id"]) == ("$$", "ADV"):
            return  # the charge of a subsidised point, told without a name
        uid = token["uid"].upper()
        if token["type"] == "RFID" and not RFID.fullmatch(uid):
            yield f"the UID of a badge has 8 or 14 hexadecimal digits, not {token['uid']!r}"
        if uid not in self.contracts:
            yield f"cdr_token {token['uid']!r} is of none of the hub's partners: tell nobody of her"
            return
        if token["contract_id"].upper() != self.contracts[uid].upper():
            yield f"cdr_token.contract_id is {token['contract_id']!r}, not {self.contracts[uid]!r}"
        reference = body.get("authorization_reference")
        issued = self.issued.get(uid, set())
        if reference is not None and reference not in issued:
            yield f"authorization_reference {reference!r} was not given by the hub"
        if reference is None and issued and body["auth_method"] != "WHITELIST":
            yield "authorization_reference is missing, and the hub gave one"

    # CDRs.

    def take_cdr(self, body: Document, complain: Complain) -> tuple[Key, bool]:
        """Its key, and whether it is new. A CDR never changes."""
        _check_shape("CDR", body, complain)
        key = (body["country_code"], body["party_id"], body["id"])
        old = self.cdrs.get(key)
        if old is not None and old != body:
            _refuse("a CDR is immutable, and this one was told otherwise before", complain)
        if old is not None:
            # Told again because no good answer came is as it should be.
            if key in self.acknowledged:
                complain("a CDR is posted twice, and the first was answered")
            return key, False
        _complain_all(_disagreements(body), complain)
        _complain_all(self._unknown_place(body), complain)
        _complain_all(self._unknown_tariffs(body), complain)
        _complain_all(self._of_token(body), complain)
        _complain_all(self._against_session(key, body), complain)
        self.cdrs[key] = body
        return key, True

    def _against_session(self, key: Key, body: Document) -> Iterable[str]:
        if "session_id" not in body:
            yield "session_id may be missing only where sessions are not told at all"
            return
        session = self.sessions.get((key[0], key[1], body["session_id"]))
        if session is None:
            yield f"a CDR of session {body['session_id']!r}, of which the hub was not told"
            return
        if session["status"] == "COMPLETED" and session["kwh"] != body["total_energy"]:
            yield f"total_energy is {body['total_energy']}, and the session's kwh {session['kwh']}"
        for name in ("cdr_token", "currency", "authorization_reference"):
            if session.get(name) != body.get(name):
                yield f"{name} is {body.get(name)!r}, and the session's {session.get(name)!r}"

    def _unknown_place(self, body: Document) -> Iterable[str]:
        place = body["cdr_location"]
        key = (body["country_code"], body["party_id"], place["id"])
        try:
            self.place(key, [place["evse_uid"], place["connector_id"]])
        except Refusal as refusal:
            yield f"a CDR of a place that the hub was not told of: {refusal.words}"

    def _unknown_tariffs(self, body: Document) -> Iterable[str]:
        named = {each["tariff_id"] for each in body["charging_periods"] if "tariff_id" in each}
        known = {each["id"] for each in body.get("tariffs", [])} | {key[2] for key in self.tariffs}
        for tariff_id in sorted(named - known):
            yield f"a charging period is of tariff {tariff_id!r}, which stands nowhere"

    @staticmethod
    def _is_older(old: Document | None, body: Document, complain: Complain) -> bool:
        """Whether something newer is known; the older is complained of, and not kept."""
        before = instant(old["last_updated"]) if old else None
        now = instant(body["last_updated"])
        if before is None or now is None or now >= before:
            return False
        complain(f"last_updated goes back from {before:%FT%T}Z to {body['last_updated']}")
        return True


def _check_shape(kind: str, body: Any, complain: Complain, *, partial: bool = False) -> None:
    found = problems(kind, body, partial=partial)
    _complain_all(found, complain)
    if found:
        raise Refusal(2001, "; ".join(found)[:1000])


def _check_owner(key: Key, body: Document, complain: Complain) -> None:
    _check_named(_named(key), body, complain)


def _named(key: Key) -> dict[str, str]:
    return dict(zip(("country_code", "party_id", "id"), key, strict=True))


def _check_named(named: dict[str, str], body: Document, complain: Complain) -> None:
    """What the address says; a body may leave it out where it changes a part only."""
    for name, value in named.items():
        if body.get(name, value) != value:
            _refuse(f"{name} is {body[name]!r}, and the address says {value!r}", complain)


def _refuse(words: str, complain: Complain) -> None:
    complain(words)
    raise Refusal(2001, words)


def _complain_all(found: Iterable[str], complain: Complain) -> None:
    for words in found:
        complain(words)


def _wanted_of_location(body: Document) -> Iterable[str]:
    for name in ("owner", "operator"):
        if name not in body:
            yield f"the guide asks for {name}.name of a Location"
    hours = body.get("opening_times")
    if hours is not None and hours["twentyfourseven"] == bool(hours.get("regular_hours")):
        yield "opening_times are twentyfourseven, or have regular_hours"
    for evse in body.get("evses", []):
        yield from _wanted_of_evse(evse, (body["country_code"], body["party_id"], body["id"]))


def _wanted_of_evse(evse: Document, key: Key) -> Iterable[str]:
    if evse["status"] == "REMOVED":
        return
    if not evse.get("capabilities"):
        yield f"the guide asks for capabilities of EVSE {evse['uid']}"
    if not evse["connectors"][0].get("tariff_ids"):
        yield f"the guide asks for tariff_ids of the first connector of EVSE {evse['uid']}"
    evse_id = evse.get("evse_id", "")
    if not evse_id.upper().replace("*", "").startswith(f"{key[0]}{key[1]}E".upper()):
        yield f"evse_id of EVSE {evse['uid']} must begin as {key[0]}*{key[1]}*E, not {evse_id!r}"


def _steps_back(old: Document, new: Document) -> Iterable[str]:
    if new["kwh"] < old["kwh"]:
        yield f"kwh of a session goes back from {old['kwh']} to {new['kwh']}"
    if _ORDER.index(new["status"]) < _ORDER.index(old["status"]):
        yield f"status of a session goes back from {old['status']} to {new['status']}"
    for name in ("location_id", "evse_uid", "connector_id", "currency", "cdr_token"):
        if old[name] != new[name]:
            yield f"{name} of a session changes from {old[name]!r} to {new[name]!r}"


def _disordered(body: Document) -> Iterable[str]:
    """Times of a Session or CDR that contradict each other."""
    start, end = instant(body["start_date_time"]), instant(body.get("end_date_time"))
    if start and end and end < start:
        yield "end_date_time is before start_date_time"
    starts = [instant(period["start_date_time"]) for period in body.get("charging_periods", [])]
    known = [each for each in starts if each]
    if known != sorted(known):
        yield "charging_periods are not in the order of time"
    if start and known and known[0] < start:
        yield "a charging period starts before the session"
    if end and known and known[-1] > end:
        yield "a charging period starts after the end of the session"


def _disagreements(cdr: Document) -> Iterable[str]:
    """Where the sums of a CDR are not what its parts say."""
    yield from _disordered(cdr)
    if len(cdr["id"]) > 36 and not cdr.get("credit"):
        yield "the id of a CDR has at most 36 characters, but for a credit"
    first = cdr["charging_periods"][0]["start_date_time"]
    if instant(first) != instant(cdr["start_date_time"]):
        yield "the first charging period does not start with the session"
    for name, kinds in (
        ("total_energy", ("ENERGY",)),
        ("total_time", ("TIME", "PARKING_TIME")),
        ("total_parking_time", ("PARKING_TIME",)),
    ):
        yield from _sum_differs(cdr, name, kinds)
    used = {each["type"] for period in cdr["charging_periods"] for each in period["dimensions"]}
    for kind in sorted(used & _OF_SESSION_ONLY):
        yield f"{kind} is a dimension of sessions only"
    yield from _too_long(cdr)
    for side in ("excl_vat", "incl_vat"):
        yield from _costs_differ(cdr, side)


def _sum_differs(cdr: Document, name: str, kinds: tuple[str, ...]) -> Iterable[str]:
    volumes = [
        Decimal(repr(each["volume"]))
        for period in cdr["charging_periods"]
        for each in period["dimensions"]
        if each["type"] in kinds
    ]
    if not volumes:
        return
    total = Decimal(repr(cdr.get(name, 0)))
    # Each of them is rounded to four decimals, as the total is.
    if abs(sum(volumes) - total) > Decimal("0.00005") * (len(volumes) + 1):
        yield f"{name} is {total}, and the charging periods sum up to {sum(volumes)}"


def _too_long(cdr: Document) -> Iterable[str]:
    start, end = instant(cdr["start_date_time"]), instant(cdr["end_date_time"])
    assert start and end, "their shape was checked"
    if cdr["total_time"] > (end - start).total_seconds() / 3600 + 0.0003:
        yield "total_time is longer than from start_date_time to end_date_time"


def _costs_differ(cdr: Document, side: str) -> Iterable[str]:
    costs = [cdr[name] for name in _COSTS if name in cdr]
    if not costs or any(side not in cost for cost in (*costs, cdr["total_cost"])):
        return
    found = sum(Decimal(repr(cost[side])) for cost in costs)
    total = Decimal(repr(cdr["total_cost"][side]))
    if abs(found - total) > _HALF_A_CENT:
        yield f"total_cost.{side} is {total}, and its parts sum up to {found}"


def _find(documents: list[Document], name: str, value: str) -> Document | None:
    return next((each for each in documents if each[name] == value), None)


def _put(documents: list[Document], old: Document | None, new: Document) -> None:
    if old is None:
        documents.append(new)
    else:
        documents[documents.index(old)] = new


def _rise(body: Document, *above: Document) -> None:
    """What is above was updated when its part was."""
    for each in above:
        now, before = instant(body["last_updated"]), instant(each["last_updated"])
        if now and before and now > before:
            each["last_updated"] = body["last_updated"]
