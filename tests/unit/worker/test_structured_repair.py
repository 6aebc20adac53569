"""Answers that are nearly JSON: repaired where that invents nothing, else refused with a fault."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fanout_worker.structured.parse import parse, parse_with_schema
from fanout_worker.structured.schema import compile_schema

ANY = compile_schema(b"{}")


def anything(value):
    return ""


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": 1}', {"a": 1}),
        ("  [1, 2]\n", [1, 2]),
        ("true", True),
        ('```json\n{"a": 1}\n```', {"a": 1}),
        ('```\n"bug"\n```', "bug"),
        ('Here you are:\n```json\n{"a": [1, {"b": 2}]}\n```\nAnything else?', {"a": [1, {"b": 2}]}),
        ('The answer [as asked]: {"a": 1}. Bye!', {"a": 1}),
        ('<think>{"a": 2}? No, {"a": 3} is better.</think>\n{"a": 1}', {"a": 1}),
        ('{"a": 1} {"a": 1}', {"a": 1}),
        ('{"a": 1,}', {"a": 1}),
        ('{"price": 0.10, "text": "kept\\n",}', {"price": 0.1, "text": "kept\n"}),
        (r"""{'a': 'say "hi", it\'s'}""", {"a": 'say "hi", it\'s'}),
        ('{"a": "it\'s",}', {"a": "it's"}),
        ('{"a": [1, 2,],}', {"a": [1, 2]}),
        ("{'a': 'it is', 'b': [True, None]}", {"a": "it is", "b": [True, None]}),
        ('{"a": "he said "hi" to me", "b": 1}', {"a": 'he said "hi" to me', "b": 1}),
        ('{"a": "x"\n "b": "y"}', {"a": "x", "b": "y"}),
        ('{"a": "line\nbreak"}', {"a": "line\nbreak"}),
        ('Sure! {"caf\\u00e9": "\\ud83d\\ude00",}', {"café": "😀"}),
    ],
)
def test_taken(text, value):
    assert parse(text, anything) == (value, "")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no JSON at all",
        '{"a": 1',
        '{"a": [1, 2',
        '{"a": tru}',
        '{"a": "cut',
        '{"a": "cut}',
        "{'a': 'cut}",
        '{"a": null, "}',
        "{'a': null, '}",
        "{'a': {'b': '}'}, 'c': 'd",
        '{"a": "b", "}": 1, "[]}',
        '[{"a": 1}, {"a": 2',
        '[{"a": 1}, ',
        '{"b": {"a": 1}, "c": [1,2',
        '{"c": [1, 2], "b',
        '```json\n{"a": 1, "b": {"c": 2}',
        '{"a": , "b": 1}',
        '{"a" "b"}',
        '{"a": 1 // a remark\n}',
        "[1, 2, ...]",
        '{"a": 007}',
        '{"a": 1} or {"a": 2}',
        '{"a": NaN}',
        '{"a": 1e999}',
        "[" * 10_000,
        '{"a":' * 10_000,
        "{" * 99 + "}" * 99,
    ],
)
def test_refused_with_a_fault(text):
    value, fault = parse_with_schema(text, ANY)
    assert value == b""
    assert fault


def test_schema_decides_between_several():
    schema = compile_schema(b'{"type": "object", "required": ["label"]}')
    assert parse_with_schema('Of {"other": 1} [2] I make {"label": "bug"}', schema) == (b'{"label":"bug"}', "")
    assert "several JSON values" in parse_with_schema('{"label": "bug"} or {"label": "wish"}', schema)[1]


def test_wrong_value_gets_the_schemas_fault():
    schema = compile_schema(b'{"properties": {"label": {"enum": ["bug"]}}}')
    for text in ('{"label": "x"}', "```json\n{'label': 'x',}\n```"):
        assert "at $.label" in parse_with_schema(text, schema)[1]


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)
OBJECTS = st.dictionaries(st.text(st.characters(codec="utf-8"), min_size=1, max_size=8), VALUES, min_size=1, max_size=5)


@given(OBJECTS, st.sampled_from(["Sure:\n", "```json\n", "[note] ", ""]), st.sampled_from(["\n```", " Bye.", ""]))
def test_words_around_a_value_change_nothing(value, before, after):
    assert parse(before + json.dumps(value) + after, anything) == (value, "")


@settings(max_examples=300)
@given(OBJECTS, st.data())
def test_a_truncated_answer_is_never_a_success(value, data):
    text = json.dumps(value)
    cut = data.draw(st.integers(0, len(text) - 1))
    assert parse_with_schema(text[:cut], ANY)[1]
    assert parse_with_schema("```json\n" + text[:cut], ANY)[1]


@settings(max_examples=300)
@given(st.text(alphabet="{}[]\"':,ab1 \\\n", max_size=60))
def test_no_scalar_is_invented(text):
    parsed = parse(text, anything)
    if not parsed.fault:
        for scalar in scalars(parsed.value):
            assert all(character in text for character in str(scalar).lower() if character in "{}[]:ab1")


def scalars(value):
    if isinstance(value, dict):
        for key, child in value.items():
            yield key
            yield from scalars(child)
    elif isinstance(value, list):
        for child in value:
            yield from scalars(child)
    elif value is not None and not isinstance(value, bool):
        yield value
