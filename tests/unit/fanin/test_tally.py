"""Paths into a results line, and values as keys."""

import pytest

from fanout.fanin.reduce.tally import as_key, lookup

LINE = {"value": {"label": "bug", "tags": ["a", {"b": 0}], "none": None, "0": "zero"}, "status": "Succeeded"}


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("status", "Succeeded"),
        ("value.label", "bug"),
        ("value.tags.0", "a"),
        ("value.tags.1.b", 0),
        ("value.0", "zero"),
        ("value.tags.2", None),
        ("value.tags.label", None),
        ("value.label.more", None),
        ("value.none", None),
        ("missing", None),
        ("missing.too", None),
    ],
)
def test_lookup(path, found):
    assert lookup(LINE, path) == found


@pytest.mark.parametrize(
    ("value", "key"),
    [("bug", "bug"), ("", ""), (1, "1"), (1.5, "1.5"), (True, "true"), ([1, 2], "[1,2]"), ({"a": 1}, '{"a":1}')],
)
def test_values_as_keys(value, key):
    assert as_key(value) == key
