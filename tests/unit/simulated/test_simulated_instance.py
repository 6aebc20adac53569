"""Instances of JSON Schemas: valid, deterministic, made of the prompt's words."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from fanout_worker.simulated.instance import instance
from fanout_worker.simulated.prompt import Prompt
from fanout_worker.simulated.schema import compiled

PROMPT = Prompt("You label tickets.", "My printer is on fire since Monday morning, please send somebody.")
NAMES = st.sampled_from(["label", "score", "reason", "id", "value", "tags", "summary"])
SCALARS = st.none() | st.booleans() | st.integers(-1000, 1000) | st.text(max_size=8)


def make(schema: Any, prompt: Prompt = PROMPT) -> Any:
    return instance(compiled(schema), prompt)


def check(schema: Any, value: Any) -> None:
    errors = [error.message for error in Draft202012Validator(schema).iter_errors(value)]
    assert not errors, (schema, value, errors)


@st.composite
def strings(draw: st.DrawFn) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    low = draw(st.none() | st.integers(0, 80))
    if low is not None:
        schema["minLength"] = low
    if draw(st.booleans()):
        schema["maxLength"] = (low or 0) + draw(st.integers(0, 40))
    return schema


@st.composite
def numbers(draw: st.DrawFn) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": draw(st.sampled_from(["integer", "number"]))}
    low = draw(st.none() | st.integers(-(10**6), 10**6))
    if low is not None:
        schema[draw(st.sampled_from(["minimum", "exclusiveMinimum"]))] = low
    if draw(st.booleans()):
        schema[draw(st.sampled_from(["maximum", "exclusiveMaximum"]))] = (low or 0) + draw(st.integers(20, 500))
    if draw(st.booleans()):
        schema["multipleOf"] = draw(st.sampled_from([1, 2, 3, 5, 0.5, 0.1, 0.25]))
    return schema


@st.composite
def objects(draw: st.DrawFn, children: st.SearchStrategy[Any]) -> dict[str, Any]:
    properties = draw(st.dictionaries(NAMES, children, max_size=4))
    schema: dict[str, Any] = {"type": "object", "properties": properties}
    if properties:
        schema["required"] = draw(st.lists(st.sampled_from(sorted(properties)), unique=True))
    if draw(st.booleans()):
        schema["additionalProperties"] = draw(st.just(False) | children)
    return schema


@st.composite
def arrays(draw: st.DrawFn, children: st.SearchStrategy[Any]) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "array", "items": draw(children)}
    if draw(st.booleans()):
        schema["prefixItems"] = draw(st.lists(children, min_size=1, max_size=3))
    low = draw(st.none() | st.integers(0, 4))
    if low is not None:
        schema["minItems"] = low
    if draw(st.booleans()):
        schema["maxItems"] = (low or 0) + draw(st.integers(0, 3))
    return schema


LEAVES = (
    strings()
    | numbers()
    | st.just(True)
    | st.builds(
        lambda t: {"type": t}, st.lists(st.sampled_from(["string", "null", "boolean"]), min_size=1, unique=True)
    )
    | st.builds(lambda v: {"const": v}, SCALARS)
    | st.builds(lambda vs: {"enum": vs}, st.lists(SCALARS, min_size=1, max_size=5, unique_by=repr))
)
SCHEMAS = st.recursive(
    LEAVES,
    lambda children: (
        objects(children)
        | arrays(children)
        | st.builds(lambda parts: {"anyOf": parts}, st.lists(children, min_size=1, max_size=3))
    ),
    max_leaves=8,
)


@given(SCHEMAS, st.text(max_size=60))
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_instances_are_valid_and_deterministic(schema: Any, text: str) -> None:
    value = make(schema, Prompt("", text))
    check(schema, value)
    assert json.dumps(value) == json.dumps(make(schema, Prompt("", text)))


@pytest.mark.parametrize(
    "schema",
    [
        {
            "allOf": [
                {"properties": {"a": {"type": "string"}}, "required": ["a"]},
                {"properties": {"b": {"minimum": 3}}, "required": ["b"]},
            ]
        },
        {"allOf": [{"type": ["string", "integer"]}, {"type": "integer", "minimum": 5}, {"maximum": 6}]},
        {
            "type": "object",
            "properties": {"a": {"type": "integer"}},
            "anyOf": [{"required": ["a"]}, {"required": ["b"]}],
        },
        {"allOf": [{"properties": {"a": {}}, "additionalProperties": False}, {"properties": {"a": {}, "b": {}}}]},
        {"oneOf": [{"type": "integer", "multipleOf": 3}, {"type": "integer", "multipleOf": 5}]},
        {"oneOf": [{"type": "number"}, {"type": "string", "enum": ["x"]}], "type": "string"},
        {"type": "string", "not": {"pattern": "printer"}},
        {"type": "array", "items": {"type": "integer", "minimum": 1, "maximum": 5}, "minItems": 5, "uniqueItems": True},
        {"type": "object", "minProperties": 3, "properties": {"a": {"type": "null"}}},
        {"type": "object", "required": ["x"], "additionalProperties": {"type": "integer"}},
        {"type": "array", "prefixItems": [{"type": "string"}, {"type": "integer"}], "items": False, "minItems": 2},
        {"enum": ["a", 1, None], "type": "integer"},
        {"type": "array", "minItems": 2.0, "maxItems": 2.0},
    ],
)
def test_combined_keywords(schema: Any) -> None:
    for text in ("one", "two", "three", "four"):
        check(schema, make(schema, Prompt("", text)))


@pytest.mark.parametrize(
    "pattern",
    [
        r"^[A-Z]{2}-\d{4}$",
        r"^(yes|no|maybe)$",
        r"\d+",
        r"^\w+@\w+\.(com|org)$",
        r"^[^0-9]{3,}$",
        r"^(a)(b)\1\2$",
        r"^\S+\s\S+$",
    ],
)
@pytest.mark.parametrize("bounds", [{}, {"minLength": 1, "maxLength": 30}])
def test_patterns(pattern: str, bounds: dict[str, int]) -> None:
    value = make({"type": "string", "pattern": pattern, **bounds})
    assert re.search(pattern, value)
    check(bounds, value)


def test_an_open_pattern_grows_to_the_length_asked_for() -> None:
    check({"pattern": "^a+$", "minLength": 40}, make({"type": "string", "pattern": "^a+$", "minLength": 40}))


@pytest.mark.parametrize("name", ["date", "time", "date-time", "email", "ipv4", "ipv6", "uuid", "hostname", "duration"])
def test_formats(name: str) -> None:
    schema = {"type": "string", "format": name}
    value = make(schema)
    assert Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER).is_valid(value), value


def test_recursive_schemas_end() -> None:
    schema = {
        "$ref": "#/$defs/node",
        "$defs": {
            "node": {
                "type": "object",
                "required": ["name", "children", "next"],
                "properties": {
                    "name": {"type": "string"},
                    "children": {"type": "array", "items": {"$ref": "#/$defs/node"}},
                    "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]},
                },
            }
        },
    }
    value = make(schema)
    check(schema, value)
    assert value["children"]


def test_a_schema_without_finite_instance_is_given_up() -> None:
    endless = {"type": "object", "required": ["next"], "properties": {"next": {"$ref": "#"}}}
    assert "next" in make(endless)
    assert make({"$ref": "#"}) is not None


def test_references_elsewhere_are_not_fetched() -> None:
    schema = {
        "type": "object",
        "required": ["a"],
        "properties": {"a": {"$ref": "https://example.org/x.json"}},
        "not": {"const": 1},
    }
    assert "a" in make(schema)


def test_free_strings_are_words_of_the_prompt() -> None:
    value = make({"type": "object", "properties": {"label": {"type": "string"}, "summary": {"type": "string"}}})
    words = set(PROMPT.words)
    assert value["label"] in words
    assert set(value["summary"].split()) <= words
    assert len(value["summary"].split()) >= 6


def test_null_is_only_the_answer_where_nothing_else_is() -> None:
    values = [make({"type": ["null", "string"]}, Prompt("", f"text {i}")) for i in range(20)]
    assert None not in values
    assert make({"type": ["null"]}) is None


def test_other_prompts_and_seeds_choose_otherwise() -> None:
    schema = {"enum": [f"v{i}" for i in range(1000)]}
    chosen = {make(schema, Prompt("", "a", seed)) for seed in range(5)} | {make(schema, Prompt("", t)) for t in "bcdef"}
    assert len(chosen) >= 9


def test_enum_choices_are_spread_evenly() -> None:
    chosen = [make({"enum": ["a", "b", "c", "d"]}, Prompt("", f"ticket {i}")) for i in range(2000)]
    assert all(400 < chosen.count(label) < 600 for label in "abcd")
