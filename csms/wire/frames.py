"""The envelope of OCPP-J: [2, id, action, payload], [3, id, payload], [4, id, code, text, details].

Read fast where it is well-formed. Broken text is repaired where its dialect is known, otherwise
its message id is fished out, so that the station gets an answer instead of waiting for its own
time-out (field case 22).
"""

import json
import re
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

import msgspec

CALL, CALL_RESULT, CALL_ERROR = 2, 3, 4
MESSAGE_ID_LENGTH_MAX: Final = 255  # 36 by the specification; what is longer is still answered
ANSWER_DEPTH_MAX: Final = 64  # of nested JSON in what a station answers to us

_CALL_DECODER: Final = msgspec.json.Decoder(tuple[int, str, str, msgspec.Raw])
_ANY_DECODER: Final = msgspec.json.Decoder(list[msgspec.Raw])

_MESSAGE_ID = re.compile(r'^\s*\[\s*"?([234])"?\s*,\s*"((?:[^"\\]|\\.){1,255})"', re.DOTALL)
_ACTION = re.compile(
    r'^\s*\[\s*"?2"?\s*,\s*"(?:[^"\\]|\\.){1,255}"\s*,\s*"([A-Za-z0-9]{1,50})"', re.DOTALL
)
_LEADING_COMMA = re.compile(r"([\[{])\s*,")  # ZJ Beny: "sampledValue":[,{...}]
_TRAILING_COMMA = re.compile(r",\s*([\]}])")


class Frame(NamedTuple):
    """A frame that could be read.

    `action` is None for answers; `payload` is the JSON text of the payload (CALL, CALLRESULT) or
    of the whole rest as a list (CALLERROR). `repaired` says what had to be mended, None: nothing.
    """

    kind: int
    message_id: str
    action: str | None
    payload: msgspec.Raw
    repaired: str | None = None


class FrameError(Exception):
    """A frame that cannot be read. `message_id` is what could be fished out, None: nothing."""

    def __init__(
        self, description: str, kind: int | None, message_id: str | None, *, rpc: bool = False
    ) -> None:
        super().__init__(description)
        self.description = description
        self.kind = kind
        self.message_id = message_id
        #: the envelope is wrong, not the JSON (2.0.1: RpcFrameworkError)
        self.rpc = rpc


class AnswerError(Exception):
    """An answer that is JSON, and yet more than anybody can hold."""


def read_frame(text: bytes) -> Frame:
    """Read one frame of UTF-8 text.

    Raises: FrameError.
    """
    try:
        kind, message_id, action, payload = _CALL_DECODER.decode(text)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return _read_other(text)
    if kind == CALL and 0 < len(message_id) <= MESSAGE_ID_LENGTH_MAX:
        return Frame(CALL, message_id, action, payload)
    return _read_other(text)


def _read_other(text: bytes) -> Frame:
    try:
        return _read_envelope(_ANY_DECODER.decode(text), None)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        pass
    repaired, how = _repair(text.decode(errors="replace"))
    if repaired is not None:
        return _read_envelope(_ANY_DECODER.decode(repaired), how)
    kind, message_id = _fish(text.decode(errors="replace"))
    raise FrameError("the frame is not JSON", kind, message_id)


def _read_envelope(parts: list[msgspec.Raw], repaired: str | None) -> Frame:
    if len(parts) < 2:
        raise FrameError("a frame is a list of at least three members", None, None, rpc=True)
    kind, note = _loose_integer(_plain(parts[0]))
    repaired = repaired or note
    raw_id = _plain(parts[1])
    if isinstance(raw_id, int | float) and not isinstance(raw_id, bool):
        raw_id, repaired = str(raw_id), repaired or "message id is a number"
    if not isinstance(raw_id, str) or not 0 < len(raw_id) <= MESSAGE_ID_LENGTH_MAX:
        raise FrameError(
            "the message id is not a text of 1 to 255 characters", kind, None, rpc=True
        )
    if kind == CALL:
        action = _plain(parts[2]) if len(parts) > 2 else None
        if not isinstance(action, str) or not action:
            raise FrameError("a CALL needs an action", kind, raw_id, rpc=True)
        if len(parts) > 4:
            repaired = repaired or "members after the payload"
        payload = parts[3] if len(parts) > 3 else msgspec.Raw(b"{}")
        if len(parts) == 3:
            repaired = repaired or "payload is missing"
        return Frame(CALL, raw_id, action, payload, repaired)
    if kind == CALL_RESULT and len(parts) >= 3:
        return Frame(CALL_RESULT, raw_id, None, parts[2], repaired)
    if kind == CALL_ERROR:
        return Frame(
            CALL_ERROR, raw_id, None, msgspec.Raw(msgspec.json.encode(parts[2:])), repaired
        )
    # Without a type nobody knows whether what follows is an id.
    known_id = None if kind is None else raw_id
    raise FrameError("the message type is none of 2, 3 and 4", kind, known_id, rpc=True)


def _plain(raw: msgspec.Raw) -> Any:
    return msgspec.json.decode(raw)


def _loose_integer(value: Any) -> tuple[int | None, str | None]:
    if isinstance(value, bool):
        return None, None
    if isinstance(value, int):
        return value, None
    if isinstance(value, float) and value.is_integer():
        return int(value), "message type is a fraction"
    if isinstance(value, str) and value.strip() in ("2", "3", "4"):
        return int(value), "message type is a text"
    return None, None


def _repair(text: str) -> tuple[bytes | None, str]:
    """Known dialects of broken JSON: superfluous commas, brackets missing at the end, NULs."""
    stripped = text.strip("\x00\ufeff \t\r\n")
    commas = _TRAILING_COMMA.sub(r"\1", _LEADING_COMMA.sub(r"\1", stripped))
    for candidate, how in (
        (stripped, "surrounding characters"),
        (commas, "superfluous comma"),
        (stripped + _missing_brackets(stripped), "brackets missing at the end"),
    ):
        try:
            if isinstance(json.loads(candidate, parse_constant=_refuse), list):
                msgspec.json.decode(candidate)
                return candidate.encode(), how
        except (ValueError, RecursionError, msgspec.MsgspecError):
            continue
    return None, ""


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def _missing_brackets(text: str) -> str:
    """The closing brackets that a truncated frame lacks (Grizzl-E); empty when more is missing.

    A frame that breaks off in a number may have lost digits: only one that breaks off behind a
    text or a bracket is whole but for its end.
    """
    if not text.endswith(('"', "}", "]")):
        return ""
    stack: list[str] = []
    in_text = escaped = False
    for character in text:
        if escaped:
            escaped = False
        elif in_text:
            escaped = character == "\\"
            in_text = character != '"'
        elif character == '"':
            in_text = True
        elif character in "[{":
            stack.append("]" if character == "[" else "}")
        elif character in "]}" and (not stack or stack.pop() != character):
            return ""
    return "" if in_text else "".join(reversed(stack))


def _fish(text: str) -> tuple[int | None, str | None]:
    """Message type and id of a text that is no JSON, as far as its beginning shows them."""
    found = _MESSAGE_ID.match(text)
    if found is None:
        return None, None
    try:
        return int(found[1]), str(json.loads(f'"{found[2]}"'))
    except ValueError:
        return None, None


def fish_action(text: str) -> str | None:
    """The action of a broken CALL, None when it cannot be seen."""
    found = _ACTION.match(text)
    return found[1] if found else None


def result_text(message_id: str, payload: str) -> str:
    """A CALLRESULT with the payload's JSON text."""
    return f"[3,{quote(message_id)},{payload}]"


def error_text(message_id: str, code: str, description: str) -> str:
    """A CALLERROR; the description is cut to the 255 characters that the schema allows."""
    return f"[4,{quote(message_id)},{quote(code)},{quote(description[:255])},{{}}]"


def call_text(message_id: str, action: str, payload: str) -> str:
    """A CALL of ours with the payload's JSON text."""
    return f"[2,{quote(message_id)},{quote(action)},{payload}]"


def answer_value(payload: msgspec.Raw) -> Any:
    """What a CALLRESULT holds, an object or not. Raises: AnswerError."""
    return _bounded(payload, ANSWER_DEPTH_MAX)


def error_parts(payload: msgspec.Raw) -> tuple[str, str, Any]:
    """Code, description and details of a CALLERROR, whatever of them is there.

    Raises: AnswerError.
    """
    parts = _bounded(payload, ANSWER_DEPTH_MAX + 1)
    code = str(parts[0]) if len(parts) > 0 else "GenericError"
    description = str(parts[1]) if len(parts) > 1 else ""
    return code, description, parts[2] if len(parts) > 2 else None


def _bounded(payload: msgspec.Raw, depth_max: int) -> Any:
    """The value of a JSON text whose numbers and nesting every later reader can take, too."""
    try:
        value = msgspec.json.decode(payload)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise AnswerError(f"The station's answer cannot be read: {error}.") from None
    level = [value]
    for _ in range(depth_max + 1):
        level = [inner for outer in level for inner in _inside(outer)]
        if not level:
            return value
    raise AnswerError(f"The station's answer is nested more than {depth_max} deep.")


def _inside(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def quote(text: str) -> str:
    """The text as JSON; ids are nearly always plain, and then need no encoder."""
    if text.isprintable() and text.isascii() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    return msgspec.json.encode(text).decode()
