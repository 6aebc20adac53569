"""The CRDs: generated, committed as generated, and of the form that Kubernetes and users expect."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from fanout.api.base import Model
from fanout.api.crd import crds, to_yaml, write
from fanout.api.job import FanOutJob
from fanout.api.schema import FREE_FORM, structural
from fanout.api.status import Condition, FailureExample, Failures, FanOutJobStatus, ResultRef
from fanout.cli.crds import crds as print_crds

COMMITTED = Path(__file__).parents[3] / "crds"
BOUNDS = {"array": "maxItems", "string": "maxLength", "object": "maxProperties"}


def schemas() -> Iterator[tuple[str, dict[str, Any]]]:
    for definition in crds():
        kind = definition["spec"]["names"]["kind"]
        yield from walk(definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"], kind)


def walk(node: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, node
    for name, each in node.get("properties", {}).items():
        yield from walk(each, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if key in node:
            yield from walk(node[key], f"{path}.{key}")


def test_the_committed_files_are_what_the_models_give(tmp_path: Path) -> None:
    written = write(tmp_path)
    assert sorted(p.name for p in written) == sorted(p.name for p in COMMITTED.iterdir())
    for path in written:
        assert (COMMITTED / path.name).read_text() == path.read_text(), "run: python -m fanout.api.crd crds"


def test_every_field_has_a_description() -> None:
    fields = [(f"{path}.{name}", each) for path, node in schemas() for name, each in node.get("properties", {}).items()]
    assert len(fields) > 100
    # Of metadata a CRD may describe the name only.
    assert [path for path, each in fields if not each.get("description")] == [
        "FanOutJob.metadata",
        "ModelEndpoint.metadata",
    ]


def test_every_list_text_and_map_is_bounded() -> None:
    # CEL multiplies the worst cases of what a rule reads; the API server refuses a CRD that could cost too much.
    unbounded = [
        path
        for path, node in schemas()
        if node.get("type") in BOUNDS
        and "properties" not in node
        and "enum" not in node
        and BOUNDS[node["type"]] not in node
        and path.split(".")[1:2] not in (["apiVersion"], ["kind"])
    ]
    empty = {"FanOutJob.spec.reduce.steps.items.collect", "FanOutJob.spec.reduce.steps.items.embeddings"}
    assert set(unbounded) <= empty


def test_the_schema_is_structural_and_has_no_floats() -> None:
    for path, node in schemas():
        assert "type" in node or node == {FREE_FORM: True}, path
        assert node.get("type") != "number", path
        assert not {"$ref", "anyOf", "oneOf", "title", "propertyNames", "patternProperties"} & node.keys(), path
        assert not ("properties" in node and "additionalProperties" in node), path


def test_a_default_says_all_that_rules_read() -> None:
    definition = crds()[0]["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    assert definition["split"]["default"] == {"by": "Item"}
    assert definition["completion"]["default"]["abort"] == {"failedPercent": 50, "afterChunks": 100}
    assert "default" not in definition["input"]


def test_a_status_has_no_defaults() -> None:
    assert not [path for path, node in schemas() if path.startswith("FanOutJob.status") and "default" in node]


def test_lists_with_a_key_are_maps() -> None:
    found = {path: node["x-kubernetes-list-map-keys"] for path, node in schemas() if "x-kubernetes-list-type" in node}
    assert found == {"FanOutJob.spec.map.branches": ["name"], "FanOutJob.status.conditions": ["type"]}


def test_names_and_columns() -> None:
    jobs, endpoints = (each["spec"] for each in crds())
    assert (jobs["names"]["plural"], jobs["names"]["shortNames"]) == ("fanoutjobs", ["foj"])
    assert (endpoints["names"]["plural"], endpoints["names"]["shortNames"]) == ("modelendpoints", ["mep"])
    assert all(each["names"]["categories"] == ["fanout"] for each in (jobs, endpoints))
    columns = jobs["versions"][0]["additionalPrinterColumns"]
    assert [c["name"] for c in columns if not c.get("priority")] == [
        "State", "Progress", "Succeeded", "Failed", "P99", "Age",
    ]  # fmt: skip
    for spec in (jobs, endpoints):
        version = spec["versions"][0]
        for column in version["additionalPrinterColumns"]:
            node = version["schema"]["openAPIV3Schema"]
            for name in column["jsonPath"].removeprefix(".").split("."):
                node = node["properties"].get(name) or {"type": "string", "properties": {}}
            assert column["type"] in (node["type"], "date"), column


def test_to_yaml_is_what_crds_gives() -> None:
    text = to_yaml()
    assert list(yaml.safe_load_all(text)) == crds()
    assert "&id" not in text


def test_a_schema_is_the_callers_own() -> None:
    structural(FanOutJob)["properties"].clear()
    assert structural(FanOutJob)["properties"]


def test_what_a_crd_cannot_say_is_not_left_out_silently() -> None:
    class Odd(Model):
        """A form that has no counterpart."""

        either: int | str = 1
        """One of two types."""

    with pytest.raises((TypeError, ValueError)):
        structural(Odd)


def test_the_largest_status_fits_its_bound() -> None:
    long = "ü" * 10_000
    example = FailureExample(item=long, chunk=0, endpoint=long, http_status=500, request_id=long, message=long)
    condition = Condition(type="Complete", status="True", reason=long, message=long, last_transition_time=long)
    status = FanOutJobStatus(
        conditions=[condition] * 8,
        failures=[Failures(reason=long, count=1, example=example)] * 20,
        limited_by=long,
        result=ResultRef(uri=long),
    )
    assert len(status.model_dump_json().encode()) < 65536
    assert example.item.endswith("ü…")


def test_the_command_prints_them(capsys: pytest.CaptureFixture[str]) -> None:
    print_crds()
    assert list(yaml.safe_load_all(capsys.readouterr().out)) == crds()


def test_the_models_need_no_yaml() -> None:
    # The worker's image has none.
    code = "import sys, fanout.api.job, fanout.api.endpoint, fanout.api.status; sys.exit('yaml' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
