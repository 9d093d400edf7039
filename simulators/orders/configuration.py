"""Orders about settings: configuration keys, variables, network profiles.

Some settings change how the station connects. A new password or a higher security profile is used
at once: the station leaves and comes back by it. A network profile is used at the next boot.
"""

import string
from collections.abc import Callable
from datetime import datetime
from urllib.parse import urlsplit

from simulators import telling
from simulators.access import SLOTS_MAX, Way
from simulators.certificates import STATION
from simulators.orders.answer import Answer, Effect, Handler, Payload, status, too_many
from simulators.settings import READ_ONLY, WRITE_ONLY, Setting
from simulators.station import Station

_KEY_OF_16_MAX = 40  # characters of AuthorizationKey: 20 bytes in hex


def name_of(entry: Payload) -> str:
    """The name under which a component's variable is kept; see `simulators.settings`."""
    component, variable = entry["component"], entry["variable"]
    evse = component.get("evse")
    parts = [component["name"]]
    if evse is not None:
        parts += [str(evse[part]) for part in ("id", "connectorId") if part in evse]
    instance = variable.get("instance")
    return f"{'/'.join(parts)}.{variable['name']}" + (f"[{instance}]" if instance else "")


def parts_of(name: str) -> tuple[Payload, Payload]:
    """Component and variable of a name, as on the wire."""
    path, _, rest = name.partition(".")
    kind, *numbers = path.split("/")
    component: Payload = {"name": kind}
    if numbers:
        component["evse"] = dict(zip(("id", "connectorId"), map(int, numbers), strict=False))
    variable_name, _, instance = rest.removesuffix("]").partition("[")
    variable: Payload = {"name": variable_name}
    if instance:
        variable["instance"] = instance
    return component, variable


def refresh(station: Station) -> None:
    """Bring the variables that say what the station is and does up to now."""
    settings, config = station.settings, station.config
    settings.put("security_profile", str(station.access.security_profile))
    settings.put("ChargingStation.FirmwareVersion", station.firmware)
    settings.put("ChargingStation.Model", config.model)
    settings.put("ChargingStation.SerialNumber", config.identity[:25])
    settings.put("ChargingStation.VendorName", config.vendor)
    for evse in station.evses.values():
        known = evse.state in ("Available", "Reserved", "Unavailable", "Faulted")
        state = evse.state if known else "Occupied"
        settings.put(f"EVSE/{evse.evse_id}.AvailabilityState", state)
        settings.put(f"Connector/{evse.evse_id}/1.AvailabilityState", state)


def _get_configuration(station: Station, payload: Payload, now: datetime) -> Answer:
    refresh(station)
    wanted = payload.get("key") or [row.name for row in station.settings]
    most = station.settings.number("get_items_max")
    if len(payload.get("key") or ()) > most:
        raise too_many(station, "keys", most)
    rows = {name: station.settings.get(name) for name in wanted}
    response: Payload = {
        "configurationKey": [_key(row) for row in rows.values() if row is not None]
    }
    unknown = [name for name, row in rows.items() if row is None]
    if unknown:
        response["unknownKey"] = unknown
    return Answer(response)


def _key(row: Setting) -> Payload:
    key: Payload = {"key": row.name, "readonly": row.mutability == READ_ONLY}
    if row.mutability != WRITE_ONLY:
        key["value"] = row.value
    return key


def _change_configuration(station: Station, payload: Payload, now: datetime) -> Answer:
    word, effect = _change(station, payload["key"], payload["value"])
    return status(word, effect)


def _change(station: Station, name: str, value: str) -> tuple[str, Effect | None]:
    """Set one value; the word of 1.6 for what became of it, and what has to be done then."""
    prepare = _PREPARED.get(name.lower())
    if prepare is None:
        word = station.settings.change(name, value)
        if word == "Accepted" and name == station.settings.name_of("heartbeat_s"):
            station.interval_s = int(value) or station.interval_s
        return word, None
    row = station.settings.get(name)
    if row is None:
        return "NotSupported", None
    effect = prepare(station, value) if row.accepts(value) else None
    if effect is None:
        return "Rejected", None
    return station.settings.change(name, value), effect


def _new_password(station: Station, value: str) -> Effect | None:
    """None: it is none by the rules of its version. It is not kept where it could be read."""
    if not station.is_201 and len(value) > _KEY_OF_16_MAX:
        return None
    if station.faults.hex_password and not _is_hex(value):
        return None

    def effect(now: datetime) -> None:
        station.access.password = value
        station.settings.put("password", "")
        _secured_anew(station, now)

    return effect


def _is_hex(value: str) -> bool:
    return len(value) % 2 == 0 and set(value) <= set(string.hexdigits)


def _new_profile(station: Station, value: str) -> Effect | None:
    """1.6: only upwards, and only with what the profile needs (white paper, A05)."""
    wanted, present = int(value), station.access.security_profile
    store = station.certificates
    has_root = bool(store.roots.get("CentralSystemRootCertificate")) or station.knows_a_root
    if (
        wanted < present
        or (wanted in (1, 2) and station.access.password is None and not station.knows_a_password)
        or (wanted >= 2 and not has_root)
        or (wanted == 3 and STATION not in store.own)
    ):
        return None

    def effect(now: datetime) -> None:
        if wanted > present:
            station.access.change_profile(wanted)
            _secured_anew(station, now)

    return effect


def _new_priority(station: Station, value: str) -> Effect | None:
    """2.0.1: slots that are filled, for the next boot."""
    slots = [part.strip() for part in value.split(",")]
    if not slots or not all(s.isdecimal() and int(s) in station.access.slots for s in slots):
        return None

    def effect(now: datetime) -> None:
        station.access.priority = [int(slot) for slot in slots]

    return effect


def _secured_anew(station: Station, now: datetime) -> None:
    telling.tell_security_event(station, "ReconfigurationOfSecurityParameters", now)
    station.leave("reconnect")


_PREPARED: dict[str, Callable[[Station, str], Effect | None]] = {
    "authorizationkey": _new_password,
    "securityprofile": _new_profile,
    "securityctrlr.basicauthpassword": _new_password,
    "ocppcommctrlr.networkconfigurationpriority": _new_priority,
}


# ---- 2.0.1


def _echo(entry: Payload) -> Payload:
    """What an answer repeats of the question."""
    names = ("component", "variable", "attributeType")
    return {name: entry[name] for name in names if name in entry}


def _unknown(station: Station, entry: Payload) -> str:
    """Whether the component is not there, or only its variable."""
    prefix = name_of(entry).partition(".")[0].lower() + "."
    known = any(row.name.lower().startswith(prefix) for row in station.settings)
    return "UnknownVariable" if known else "UnknownComponent"


def _get_variables(station: Station, payload: Payload, now: datetime) -> Answer:
    asked, most = payload["getVariableData"], station.settings.number("get_items_max")
    if len(asked) > most:
        raise too_many(station, "variables", most)
    refresh(station)
    results = []
    for entry in asked:
        result = _echo(entry)
        row = station.settings.get(name_of(entry))
        if row is None:
            result["attributeStatus"] = _unknown(station, entry)
        elif entry.get("attributeType", "Actual") != "Actual":
            result["attributeStatus"] = "NotSupportedAttributeType"
        elif row.mutability == WRITE_ONLY:
            result["attributeStatus"] = "Rejected"
        else:
            result |= {"attributeStatus": "Accepted", "attributeValue": row.value}
        results.append(result)
    return Answer({"getVariableResult": results})


def _set_variables(station: Station, payload: Payload, now: datetime) -> Answer:
    asked, most = payload["setVariableData"], station.settings.number("set_items_max")
    if len(asked) > most:
        raise too_many(station, "variables", most)
    results, effects = [], []
    for entry in asked:
        result = _echo(entry)
        if entry.get("attributeType", "Actual") != "Actual":
            result["attributeStatus"] = "NotSupportedAttributeType"
        else:
            word, effect = _change(station, name_of(entry), entry["attributeValue"])
            unknown = word == "NotSupported"
            result["attributeStatus"] = _unknown(station, entry) if unknown else word
            effects += [] if effect is None else [effect]
        results.append(result)

    def effect_of_all(now: datetime) -> None:
        for effect in effects:
            effect(now)

    return Answer({"setVariableResult": results}, effect_of_all)


def _set_network_profile(station: Station, payload: Payload, now: datetime) -> Answer:
    """A profile lower than the present one is refused (B09), and what is not JSON over 2.0."""
    slot, data = payload["configurationSlot"], payload["connectionData"]
    profile = data["securityProfile"]
    url = urlsplit(data["ocppCsmsUrl"])
    if (
        not 1 <= slot <= SLOTS_MAX
        or profile < station.access.security_profile
        or data["ocppVersion"] != "OCPP20"
        or data["ocppTransport"] != "JSON"
        or url.scheme != ("wss" if profile >= 2 else "ws")
        or not url.hostname
    ):
        return status("Rejected")
    if profile == 3 and STATION not in station.certificates.own:
        return status("Failed")
    station.access.slots[slot] = Way(profile, data["ocppCsmsUrl"])
    return status("Accepted")


HANDLERS_16: dict[str, Handler] = {
    "ChangeConfiguration": _change_configuration,
    "GetConfiguration": _get_configuration,
}
HANDLERS_201: dict[str, Handler] = {
    "GetVariables": _get_variables,
    "SetNetworkProfile": _set_network_profile,
    "SetVariables": _set_variables,
}
