"""Any resource, written as a manifest and read again, is the same resource; and its CRD schema takes it."""

from __future__ import annotations

from typing import Any

import jsonschema
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fanout.api.base import Model, broken_rules
from fanout.api.checking import read
from fanout.api.documents import parse
from fanout.api.endpoint import ModelEndpoint
from fanout.api.job import FanOutJob
from fanout.api.schema import Schema, structural

FREE = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)
KEYS = st.from_regex(r"[a-z][a-z0-9]{0,5}", fullmatch=True)


def values(schema: Schema) -> st.SearchStrategy[Any]:
    """Whatever `schema` takes, some of its optional fields left out."""
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    made = {"integer": integers, "string": texts, "array": lists, "object": objects}.get(schema.get("type", ""))
    return made(schema) if made else FREE


def integers(schema: Schema) -> st.SearchStrategy[Any]:
    return st.integers(schema.get("minimum", -(2**31)), schema.get("maximum", 2**31))


def texts(schema: Schema) -> st.SearchStrategy[Any]:
    least, most = schema.get("minLength", 0), min(schema["maxLength"], 24)
    if "pattern" not in schema:
        return st.text(min_size=least, max_size=most)
    pattern = schema["pattern"].replace("$", r"\Z")
    return st.from_regex(pattern, alphabet=st.characters(codec="ascii")).filter(lambda text: least <= len(text) <= most)


def lists(schema: Schema) -> st.SearchStrategy[Any]:
    most = min(schema["maxItems"], 2)
    return st.lists(values(schema["items"]), min_size=schema.get("minItems", 0), max_size=most)


def objects(schema: Schema) -> st.SearchStrategy[Any]:
    if "additionalProperties" in schema:
        return st.dictionaries(KEYS, values(schema["additionalProperties"]), max_size=3)
    fields = {name: values(each) for name, each in schema.get("properties", {}).items()}
    required = {name: fields.pop(name) for name in schema.get("required", ())}
    return st.fixed_dictionaries(required, optional=fields)


def resources(model: type[Model]) -> st.SearchStrategy[dict[str, Any]]:
    spec = values(structural(model)["properties"]["spec"])
    head = {"apiVersion": "fanout.dev/v1alpha1", "kind": model.__name__, "metadata": {"name": "a"}}
    return spec.map(lambda made: {**head, "spec": made})


def check(model: type[Model], body: dict[str, Any]) -> None:
    made, faults = read(model, body)
    if made is None:
        # What the schema allows, only a rule refuses.
        parsed = model.model_validate(body)
        assert [(f.path, f.message) for f in broken_rules(parsed)] == [(f.path, f.message) for f in faults]
        return
    written = made.model_dump(mode="json", exclude_none=True)
    again, _ = read(model, written)
    assert again == made
    jsonschema.validate(written["spec"], structural(model)["properties"]["spec"])


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(resources(FanOutJob))
def test_jobs_come_back_as_they_were(body: dict[str, Any]) -> None:
    check(FanOutJob, body)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(resources(ModelEndpoint))
def test_endpoints_come_back_as_they_were(body: dict[str, Any]) -> None:
    check(ModelEndpoint, body)


class Quoting(yaml.SafeDumper):
    """Quotes every text: PyYAML leaves 0E0 bare, which Kubernetes, and Fanout with it, reads as a number."""


Quoting.add_representer(str, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"'))


@settings(max_examples=100, deadline=None)
@given(FREE, st.booleans())
def test_any_value_written_as_yaml_is_read_as_it_was(value: Any, flow: bool) -> None:
    documents, remarks = parse(yaml.dump({"value": value}, Dumper=Quoting, default_flow_style=flow))
    assert remarks == []
    assert documents[0].remarks == []
    assert documents[0].value == {"value": value}


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="ab:-[]{}\"'*&!|>#%@ \n\t,?~<=0.1", max_size=40))
def test_no_text_makes_the_reader_fail(text: str) -> None:
    documents, remarks = parse(text)
    assert all(remark.message and remark.line >= 1 for remark in remarks)
    for document in documents:
        assert all(line >= 1 for line in document.lines.values())
