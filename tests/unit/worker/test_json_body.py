"""Untrusted JSON: what is read, and what is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanout_worker.json_body import MAX_DEPTH, JsonError, clean, read_body, read_json, write_json

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(JSON)
def test_what_is_written_is_read_again(value):
    try:
        text = write_json(value)
    except JsonError:
        return  # half a surrogate pair
    assert read_json(text) == value
    assert b"\n" not in text


@pytest.mark.parametrize(
    "text",
    [b"", b"NaN", b"Infinity", b"1e400", b"[1,]", b"{} x", b'"\\ud800"', b"\xff", b"[" * 200_000, b"9" * 10_000 + b"e"],
)
def test_refused(text):
    with pytest.raises(JsonError):
        read_json(text)


def test_depth_has_a_bound():
    for opening, closing in ((b"[", b"]"), (b'{"a":', b"}")):
        deepest = opening * MAX_DEPTH + b"1" + closing * MAX_DEPTH
        assert read_json(deepest) is not None
        with pytest.raises(JsonError, match="nested deeper"):
            read_json(opening + deepest + closing)


def test_many_brackets_are_not_depth():
    assert len(read_json(b"[" + b"[],{}," * 5000 + b"1]")) == 10_001


def test_body_is_read_leniently():
    assert read_body(b'\xef\xbb\xbf{"a": "\xff"}') == {"a": "\ufffd"}
    assert clean(read_body(b'{"a": "x\\ud83d"}')["a"]) == "x\ufffd"
    with pytest.raises(JsonError):
        read_body(b'{"a": NaN}')
