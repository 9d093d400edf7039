"""Frames for the fuzz test: valid ones from the JSON schemas, and everything that can be wrong.

A `Case` is a frame without its message id, which the test gives it: ids are then unique, and every
answer can be led back to its question. What must be answered is judged here from the text alone,
without a line of the product.
"""

import functools
import json
import re
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from csms.wire.dispatch import VERSIONS
from csms.wire.schema import known_actions, load_schema

PROTOCOLS = tuple(VERSIONS)
_TIMES = (
    "2026-10-25T02:30:00+02:00",
    "2026-06-01T12:00:00.123Z",
    "2026-06-01T12:00:00.1234567Z",
    "1970-01-01T00:00:12Z",
    "2038-01-19T03:14:08Z",
    "0001-01-01T00:00:00Z",
    "9999-12-31T23:59:59.999999+00:00",
)
_TEXTS = ("A", "BADGE-1", "1", "-1", "éà", "充电", "\u202ex", 'q"uote\\', "a" * 20)
_JUNK: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 1.5, -0.0, 2**31, -(2**31) - 1, 2**63, 10**30, 1e308, -1e308),
    *("", " ", "x" * 300, "y" * 5000, "\x00", "a\x00b", "\x1d\x1e", "\ud800", "\U0001f50c", "-1"),
    *("NaN", "Infinity", "-Infinity", "1e999", "12,5", "0x10", "true", "2026-13-45T99:99:99Z"),
    *("2026-06-01 12:00:00", "1780000000", "99999999999999999999", "'; DROP TABLE session; --"),
    *([], {}, [[]], [None], {"": ""}, {"\x00": "\x00"}, [1] * 1000, "Ended", "Transaction.End"),
    json.loads("[" * 200 + "]" * 200),
    json.loads('{"a":' * 40 + "1" + "}" * 40),
)
_ID_STYLES = ("{}", "{}-0f8fad5b-d9cb-469f-a165-70867728950e", 'é"\\/{}\u2028', "{:0>255}", " {} ")
_ENVELOPES = (
    '[2,"ID","ACTION",PAYLOAD]',
    ' [ 2 , "ID" ,\n"ACTION"\t, PAYLOAD ] ',
    '[2.0,"ID","ACTION",PAYLOAD]',
    '["2","ID","ACTION",PAYLOAD]',
    '[2,"ID","ACTION",PAYLOAD,null,{}]',
    '[2,"ID","ACTION"]',
    '[2,"ID"]',
    '[2,"ID",5,PAYLOAD]',
    '[2,"ID","",PAYLOAD]',
    '[2,"ID","ACTION","PAYLOAD"]',
    '[2,"ID","ACTION",[PAYLOAD]]',
    '[2,"ID","ACTION",null]',
    '[2,"ID","ACTION",{"a":NaN}]',
    '[2,"ID","ACTION",PAYLOAD',
    '[2,"ID","ACTION",[,PAYLOAD]]',
    '[2,"ID","ACTION",PAYLOAD,]',
    '[2,"","ACTION",PAYLOAD]',
    '[2,null,"ACTION",PAYLOAD]',
    '[2,["ID"],"ACTION",PAYLOAD]',
    '[5,"ID","ACTION",PAYLOAD]',
    '[null,"ID","ACTION",PAYLOAD]',
    '[3,"ID",PAYLOAD]',
    '[3,"ID"]',
    '[4,"ID","GenericError","",{}]',
    '[4,"ID"]',
    '[4,"ID",5,6,7,8]',
    '{"2":"ID"}',
    '"ID"',
    "[]",
    "null",
    "",
)
_READABLE = re.compile(r'\s*\[\s*"?(\d+)(?:\.0)?"?\s*,\s*"((?:[^"\\]|\\.)*)"', re.DOTALL)


@dataclass(frozen=True)
class Damage:
    """What befalls the text of a frame at a place between 0 (its begin) and 1 (its end)."""

    kind: str  # cut, drop, insert, double
    place: float
    text: str = ""

    def __call__(self, frame: str) -> str:
        at = int(self.place * len(frame))
        match self.kind:
            case "cut":
                return frame[:at]
            case "drop":
                return frame[:at] + frame[at + 1 :]
            case "insert":
                return frame[:at] + self.text + frame[at:]
        return frame[:at] + frame + frame[at:]


@dataclass(frozen=True)
class Case:
    """One frame to be; `raw` is sent as it is when there is one."""

    protocol: str
    action: str = ""
    payload: str = "{}"
    id_style: str = "{}"
    envelope: str = _ENVELOPES[0]
    damage: Damage | None = None
    raw: str | None = None
    times: int = 1  # sent so often, under one id

    def text(self, number: int) -> str:
        """The frame under the id of this number."""
        if self.raw is not None:
            return self.raw
        message_id = json.dumps(self.id_style.format(number), ensure_ascii=number % 2 == 0)
        frame = (
            self.envelope.replace("ACTION", self.action)
            .replace('"ID"', message_id)
            .replace("PAYLOAD", self.payload)
        )
        return frame if self.damage is None else self.damage(frame)


# --- What is due --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Due:
    """The answers that a frame must get, and may get: under its id (None: it has none), or "-1"."""

    message_id: str | None = None
    named_min: int = 0
    named_max: int = 0
    anonymous_min: int = 0
    anonymous_max: int = 0


NOTHING = Due()


def due(text: str, protocol: str) -> Due:
    """What promise 8 wants: an answer to every CALL whose id can be read; without an id, 2.0.1
    gets "-1" and 1.6 nothing; answers are never answered."""
    text = text.strip("\x00\ufeff \t\r\n")  # what surrounds a frame is no part of it
    try:
        frame = json.loads(text)
    except (ValueError, RecursionError):
        found = _READABLE.match(text)
        if found is None:
            return _anonymous(protocol)
        try:
            frame = [int(found[1]), json.loads(f'"{found[2]}"')]
        except ValueError:
            return Due(anonymous_max=1)
    if not isinstance(frame, list) or len(frame) < 2:
        return _anonymous(protocol)
    kind, message_id = frame[:2]
    if str(kind) in ("3", "4", "3.0", "4.0"):
        return NOTHING
    readable = isinstance(message_id, str) and 1 <= len(message_id) <= 255
    if str(kind) in ("2", "2.0"):
        return Due(message_id, 1, 1) if readable else _anonymous(protocol)
    # Neither a CALL nor an answer: to be ignored by the letter, and may be told so.
    return Due(message_id if readable else None, 0, 1, 0, 1)


def _anonymous(protocol: str) -> Due:
    return Due(anonymous_min=1, anonymous_max=1) if protocol == PROTOCOLS[1] else NOTHING


# --- Strategies ---------------------------------------------------------------------------------


def cases() -> SearchStrategy[Case]:
    """Any frame."""
    return st.sampled_from(PROTOCOLS).flatmap(_cases_of)


@functools.cache
def _cases_of(protocol: str) -> SearchStrategy[Case]:
    requests = st.sampled_from(sorted(VERSIONS[protocol].requests)).flatmap(
        lambda action: st.tuples(st.just(action), payloads(protocol, action))
    )
    return st.one_of(
        _cases(protocol, requests),
        _cases(protocol, requests, times=2),
        _cases(protocol, requests.flatmap(_mutated)),
        _cases(protocol, requests.flatmap(_mutated), ids=True),
        _cases(protocol, requests, ids=True, damage=True),
        _cases(protocol, requests, envelopes=True),
        _cases(protocol, st.tuples(_actions(protocol), _json)),
        st.builds(Case, st.just(protocol), raw=_noise),
    )


def _cases(
    protocol: str,
    requests: SearchStrategy[tuple[str, Any]],
    *,
    times: int = 1,
    ids: bool = False,
    damage: bool = False,
    envelopes: bool = False,
) -> SearchStrategy[Case]:
    return st.builds(
        lambda request, id_style, envelope, damage: Case(
            protocol, request[0], json.dumps(request[1]), id_style, envelope, damage, None, times
        ),
        requests,
        st.sampled_from(_ID_STYLES) if ids else st.just(_ID_STYLES[0]),
        st.sampled_from(_ENVELOPES) if envelopes else st.just(_ENVELOPES[0]),
        _damage if damage else st.none(),
    )


_damage = st.builds(
    Damage,
    st.sampled_from(("cut", "cut", "drop", "insert", "double")),
    st.floats(0, 1),
    st.sampled_from(('"', "\\", ",", "]", "}", "[", "{", "\x00", "é", "0", " ")),
)
_json = st.one_of(
    st.sampled_from(_JUNK),
    st.dictionaries(st.text(max_size=5), st.sampled_from(_JUNK), max_size=3),
)
_noise = st.one_of(
    st.text(max_size=60),
    st.text('[]{}",:2345\\u0 eE+-.', max_size=40),
    st.sampled_from(("[" * 5000, '{"a":' * 5000, "[2," * 3000, "9" * 5000, "\ufeff[]", "\x00" * 9)),
).filter(lambda text: not re.search("[\ud800-\udfff]", text))


@functools.cache
def _actions(protocol: str) -> SearchStrategy[str]:
    """Actions that the version does not know, or that are not for us to do."""
    ours = VERSIONS[protocol].requests
    others = sorted(known_actions(protocol) - set(ours))
    return st.sampled_from([*others, "heartbeat", "Nope", "X" * 100, "é", "Trigger Message"])


@functools.cache
def payloads(protocol: str, action: str) -> SearchStrategy[Any]:
    """Payloads that are valid by the request's schema."""
    schema = load_schema(protocol, action)
    return _values(schema, schema)


def _values(schema: dict[str, Any], document: dict[str, Any]) -> SearchStrategy[Any]:
    if "$ref" in schema:
        schema = document["definitions"][schema["$ref"].rsplit("/", 1)[-1]]
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    match schema.get("type"):
        case "object":
            parts = {
                name: _values(child, document)
                for name, child in schema.get("properties", {}).items()
                if name != "customData"
            }
            required = set(schema.get("required", ()))
            return st.fixed_dictionaries(
                {name: part for name, part in parts.items() if name in required},
                optional={name: part for name, part in parts.items() if name not in required},
            )
        case "array":
            least = schema.get("minItems", 0)
            most = min(schema.get("maxItems", 3), 3)
            return st.lists(_values(schema["items"], document), min_size=least, max_size=most)
        case "string":
            if schema.get("format") == "date-time":
                return st.sampled_from(_TIMES)
            longest = schema.get("maxLength", 20)
            return st.sampled_from([*(text[:longest] for text in _TEXTS), "z" * min(longest, 800)])
        case "integer":
            low, high = schema.get("minimum", -5), schema.get("maximum", 2**31 - 1)
            numbers = {max(low, n) for n in (0, 1, 2, 100, high, low) if n <= high}
            return st.sampled_from(sorted(numbers))
        case "number":
            return st.sampled_from((0, 0.5, 230.1, 1234567, 1e12, -3))
        case "boolean":
            return st.booleans()
    return st.sampled_from(({"a": 1}, "any", [1], {}))


def _mutated(request: tuple[str, Any]) -> SearchStrategy[tuple[str, Any]]:
    """The request with up to three things wrong somewhere in its payload."""
    wrong = st.tuples(
        st.integers(0, 200),
        st.sampled_from(("delete", "replace", "replace", "replace", "rename", "wrap", "repeat")),
        st.sampled_from(_JUNK),
    )
    return st.lists(wrong, min_size=1, max_size=3).map(
        lambda steps: (request[0], functools.reduce(_mutate, steps, request[1]))
    )


def _mutate(payload: Any, step: tuple[int, str, Any]) -> Any:
    """A copy of the payload with one thing changed."""
    number, how, junk = step
    copied = json.loads(json.dumps([payload]))
    places = list(_places(copied))
    container, key = places[number % len(places)]
    match how:
        case "delete" if len(places) > 1:
            del container[key]
        case "rename" if isinstance(container, dict):
            container[str(key).swapcase()] = container.pop(key)
        case "wrap":
            container[key] = [container[key]]
        case "repeat" if isinstance(container, list):
            container *= 3
        case _:
            container[key] = junk
    return copied[0] if copied else None


def _places(container: Any) -> Any:
    """Every (container, key) in a JSON value."""
    keys = container if isinstance(container, dict) else range(len(container))
    for key in list(keys):
        yield container, key
        if isinstance(container[key], dict | list):
            yield from _places(container[key])
