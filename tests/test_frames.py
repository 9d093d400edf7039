"""The envelope: what is read, what is repaired, what is fished out of the rest."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csms.wire import frames
from csms.wire.frames import CALL, CALL_ERROR, CALL_RESULT, FrameError, read_frame


def payload_of(text: str) -> object:
    return json.loads(bytes(read_frame(text.encode()).payload))


def error_of(text: str) -> FrameError:
    with pytest.raises(FrameError) as caught:
        read_frame(text.encode())
    return caught.value


def test_the_three_kinds_of_message() -> None:
    call = read_frame(b'[2,"19","Heartbeat",{"a":[1]}]')
    assert call[:3] == (CALL, "19", "Heartbeat")
    assert call.repaired is None
    assert json.loads(bytes(call.payload)) == {"a": [1]}
    result = read_frame(b'[3, "19", {"status": "Accepted"}]')
    assert result[:3] == (CALL_RESULT, "19", None)
    assert json.loads(bytes(result.payload)) == {"status": "Accepted"}
    error = read_frame(b'[4,"19","NotSupported","",{}]')
    assert error[:3] == (CALL_ERROR, "19", None)
    assert json.loads(bytes(error.payload)) == ["NotSupported", "", {}]


@pytest.mark.parametrize(
    ("text", "how"),
    [
        ('[2,"1","Heartbeat",{"a":[,1]}]', "superfluous comma"),
        ('[2,"1","Heartbeat",{"a":[1,]}]', "superfluous comma"),
        ('[2,"1","Heartbeat",{"a":[1]},]', "superfluous comma"),
        ('[2,"1","Heartbeat",{"a":[1]', "brackets missing at the end"),
        ('[2,"1","Heartbeat",{"a":[1]}', "brackets missing at the end"),
        ('[2,"1","Heartbeat",{"a":[1]}]\x00\x00', "surrounding characters"),
        ('\ufeff[2,"1","Heartbeat",{"a":[1]}]', "surrounding characters"),
        ('["2","1","Heartbeat",{"a":[1]}]', "message type is a text"),
        ('[2.0,"1","Heartbeat",{"a":[1]}]', "message type is a fraction"),
        ('[2,1,"Heartbeat",{"a":[1]}]', "message id is a number"),
        ('[2,"1","Heartbeat",{"a":[1]},17]', "members after the payload"),
    ],
)
def test_known_dialects_are_mended(text: str, how: str) -> None:
    frame = read_frame(text.encode())
    assert frame[:3] == (CALL, "1", "Heartbeat")
    assert frame.repaired == how
    assert payload_of(text) == {"a": [1]}


def test_a_call_without_a_payload_has_an_empty_one() -> None:
    assert payload_of('[2,"1","Heartbeat"]') == {}
    assert read_frame(b'[2,"1","Heartbeat"]').repaired == "payload is missing"


@pytest.mark.parametrize(
    "text",
    [
        '[2,"1","StopTransaction",{"meterStop":36',  # digits may be missing
        '[2,"1","StopTransaction",{"meterStop":',
        '[2,"1","StopTransaction",{"idTag":"AB',  # and so may letters
        '[2,"1","StopTransaction",{"a":NaN}]',
        '[2,"1","StopTransaction",{"a":tru}]',
        '[2,"1","StopTransaction",{"a":}]',
    ],
)
def test_what_may_have_lost_its_meaning_is_not_mended(text: str) -> None:
    error = error_of(text)
    assert (error.kind, error.message_id, error.rpc) == (CALL, "1", False)
    assert frames.fish_action(text) == "StopTransaction"


@pytest.mark.parametrize(
    ("text", "kind", "message_id", "rpc"),
    [
        ("", None, None, False),
        ("hello", None, None, False),
        ("{}", None, None, False),
        ("[]", None, None, True),
        ("[2]", None, None, True),
        ('[2,"1"]', CALL, "1", True),
        ('[2,"1",{},{}]', CALL, "1", True),
        ('[2,"","Heartbeat",{}]', CALL, None, True),
        ('[2,null,"Heartbeat",{}]', CALL, None, True),
        ('[2,"' + "x" * 256 + '","Heartbeat",{}]', CALL, None, True),
        ('[3,"1"]', CALL_RESULT, "1", True),
        ('[3,"1",', CALL_RESULT, "1", False),
        ('[7,"1","Heartbeat",{}]', 7, "1", True),
        ('[true,"1","Heartbeat",{}]', None, None, True),
        ('[2,"a\\"b","Heartbeat",{"a":}]', CALL, 'a"b', False),
    ],
)
def test_what_is_no_frame_shows_what_it_can(
    text: str, kind: int | None, message_id: str | None, rpc: bool
) -> None:
    error = error_of(text)
    assert (error.kind, error.message_id, error.rpc) == (kind, message_id, rpc)


def test_deep_nesting_is_no_frame_and_no_crash() -> None:
    for text in ("[" * 100_000, '[2,"1","A",' + "[" * 50_000 + "]" * 50_000 + "]"):
        try:
            read_frame(text.encode())
        except FrameError as error:
            assert error.description


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_no_bytes_make_the_reader_fail(data: bytes) -> None:
    try:
        frame = read_frame(data)
    except FrameError as error:
        assert error.message_id is None or 0 < len(error.message_id) <= 255
    else:
        assert frame.kind in (CALL, CALL_RESULT, CALL_ERROR)
        assert 0 < len(frame.message_id) <= frames.MESSAGE_ID_LENGTH_MAX


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


@given(
    message_id=st.text(min_size=1, max_size=255),
    action=st.text(min_size=1, max_size=20),
    payload=st.dictionaries(st.text(max_size=5), JSON, max_size=3),
)
def test_what_is_written_is_read(message_id: str, action: str, payload: dict[str, object]) -> None:
    text = frames.call_text(message_id, action, json.dumps(payload))
    frame = read_frame(text.encode())
    assert frame[:3] == (CALL, message_id, action)
    assert json.loads(bytes(frame.payload)) == payload
    assert frame.repaired is None


@given(st.text())
def test_answers_are_json_whatever_the_id(message_id: str) -> None:
    assert json.loads(frames.result_text(message_id, "{}")) == [3, message_id, {}]
    described = json.loads(frames.error_text(message_id, "GenericError", message_id))
    assert described == [4, message_id, "GenericError", message_id[:255], {}]
