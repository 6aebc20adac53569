"""The CRDs on a real Kubernetes API server: accepted, and each rule refuses and lets through what it should."""

from __future__ import annotations

import itertools
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from apiserver import ApiServer, missing, program

from fanout.api.base import API_VERSION, Rule
from fanout.api.crd import crds
from fanout.api.job import FanOutJob

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "there")

DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
RESOURCES = f"/apis/{API_VERSION}/namespaces/default"
PLURALS = {"FanOutJob": "fanoutjobs", "ModelEndpoint": "modelendpoints"}
CONTRACT_BRANCH = {"name": "a", "endpoints": ["e"], "chat": {"prompt": "{{ chunk.text }}"}}
ROOT = Path(__file__).parents[2]
RULES = yaml.safe_load((ROOT / "tests/data/rules.yaml").read_text())["rules"]
# What only Python can check is not in the CRD: the API server takes it, and the operator says what is wrong.
PYTHON_ONLY = ("each item is a text or an object of fields",)
_numbers = itertools.count()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    started = ApiServer(tmp_path_factory.mktemp("apiserver"))
    try:
        started.start()
        yield started
    finally:
        started.stop()


@pytest.fixture(scope="module")
def api(server: ApiServer) -> Iterator[httpx.Client]:
    with server.client() as client:
        for definition in crds():
            answer = client.post(DEFINITIONS, json=definition)
            assert answer.status_code == 201, answer.text
            wait_until_served(client, definition["metadata"]["name"])
        yield client


def wait_until_served(client: httpx.Client, name: str) -> None:
    plural = name.split(".", 1)[0]
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        conditions = client.get(f"{DEFINITIONS}/{name}").json().get("status", {}).get("conditions") or []
        found = {c["type"]: c["status"] for c in conditions}
        assert found.get("NonStructuralSchema") != "True", conditions
        if found.get("Established") == "True" and client.get(f"{RESOURCES}/{plural}").status_code == 200:
            return
        time.sleep(0.1)
    raise TimeoutError(f"{name} is not served")


def resource(kind: str, spec: dict[str, Any], **more: Any) -> dict[str, Any]:
    metadata = {"name": f"r{next(_numbers)}"}
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "spec": spec, **more}


def create(api: httpx.Client, body: dict[str, Any]) -> httpx.Response:
    return api.post(f"{RESOURCES}/{PLURALS[body['kind']]}", params={"fieldValidation": "Strict"}, json=body)


def job_spec() -> dict[str, Any]:
    return {"input": {"items": ["a"]}, "map": {"branches": [CONTRACT_BRANCH]}}


def causes(answer: httpx.Response) -> list[str]:
    return [f"{c['field']}: {c['message']}" for c in answer.json().get("details", {}).get("causes", [])]


@pytest.mark.parametrize("example", RULES, ids=[f"{i}-{r['path']}" for i, r in enumerate(RULES)])
def test_each_rule_refuses_its_broken_example_and_takes_the_other(api: httpx.Client, example: dict[str, Any]) -> None:
    kind = example.get("kind", "FanOutJob")

    def put(spec: dict[str, Any]) -> httpx.Response:
        if "from" not in example:
            return create(api, resource(kind, spec))
        before = create(api, resource(kind, example["from"]))
        assert before.status_code == 201, before.text
        changed = {**before.json(), "spec": spec}
        return api.put(
            f"{RESOURCES}/{PLURALS[kind]}/{changed['metadata']['name']}",
            params={"fieldValidation": "Strict"},
            json=changed,
        )

    held = put(example["holds"])
    assert held.status_code in (200, 201), held.text
    broken = put(example["broken"])
    if example["message"] in PYTHON_ONLY:
        assert broken.status_code == 201, broken.text
        return
    assert broken.status_code == 422, broken.text
    assert any(c.startswith(f"{example['path']}: ") and example["message"] in c for c in causes(broken)), broken.text


def test_python_only_rules_are_not_in_the_crd() -> None:
    rules: tuple[Rule, ...] = FanOutJob.rules
    assert rules
    assert all(not r.cel for r in rules)
    assert "x-kubernetes-validations" not in crds()[0]["spec"]["versions"][0]["schema"]["openAPIV3Schema"]


def test_an_unknown_field_is_refused(api: httpx.Client) -> None:
    answer = create(api, resource("FanOutJob", {**job_spec(), "paralelism": 3}))
    assert answer.status_code == 400
    assert 'unknown field "spec.paralelism"' in answer.text.replace("\\", "")


def test_free_form_fields_keep_what_they_hold(api: httpx.Client) -> None:
    spec = job_spec()
    spec["input"] = {"items": ["text", {"id": "a", "nested": {"deep": [1, None, "x"]}}]}
    spec["params"] = {"tone": "warm", "levels": [1, 2, {"a": True}]}
    spec["map"]["branches"] = [
        {
            **CONTRACT_BRANCH,
            "chat": {
                "prompt": "p",
                "parameters": {"temperature": 0.5, "stop": ["\n"]},
                "responseSchema": {"type": "object", "properties": {"label": {"enum": ["a", "b"]}}},
            },
        }
    ]
    answer = create(api, resource("FanOutJob", spec))
    assert answer.status_code == 201, answer.text
    kept = answer.json()["spec"]
    assert kept["input"]["items"] == spec["input"]["items"]
    assert kept["params"] == spec["params"]
    assert kept["map"]["branches"][0]["chat"] == spec["map"]["branches"][0]["chat"]


def test_defaults_are_those_of_the_models(api: httpx.Client) -> None:
    stored = create(api, resource("FanOutJob", job_spec())).json()
    ours = FanOutJob.model_validate({**stored, "spec": job_spec()}).model_dump(mode="json", exclude_none=True)
    assert stored["spec"] == ours["spec"]


def test_defaults_fill_up_objects_that_are_given_in_part(api: httpx.Client) -> None:
    body = resource("ModelEndpoint", {"api": "Simulated", "limits": {"contextTokens": 512}, "simulated": {}})
    spec = create(api, body).json()["spec"]
    assert spec["limits"] == {"concurrency": 16, "contextTokens": 512}
    assert spec["simulated"]["latency"]["stragglerFactor"] == 20


def test_a_name_that_is_no_label_is_refused(api: httpx.Client) -> None:
    body = resource("FanOutJob", job_spec())
    body["metadata"] = {"name": "a" * 64}
    answer = create(api, body)
    assert answer.status_code == 422
    assert "metadata.name" in answer.text


def test_status_is_a_subresource(api: httpx.Client) -> None:
    stored = create(api, resource("FanOutJob", job_spec(), status={"state": "Complete"})).json()
    assert "status" not in stored
    path = f"{RESOURCES}/fanoutjobs/{stored['metadata']['name']}/status"
    stored["status"] = {"state": "Running", "chunks": {"planned": 3}}
    answer = api.put(path, json=stored)
    assert answer.status_code == 200, answer.text
    assert answer.json()["status"] == {"state": "Running", "chunks": {"planned": 3}}  # nothing is made up


def test_the_columns_of_kubectl_get(server: ApiServer, api: httpx.Client) -> None:
    stored = create(api, resource("FanOutJob", job_spec())).json()
    name = stored["metadata"]["name"]
    stored["status"] = {
        "state": "Running",
        "progressPercent": 40,
        "limitedBy": "Concurrency",
        "chunks": {"planned": 10, "succeeded": 3, "failed": 1},
        "latency": {"p99Milliseconds": 812},
        "usage": {"cost": "0.42"},
    }
    assert api.put(f"{RESOURCES}/fanoutjobs/{name}/status", json=stored).status_code == 200
    assert columns(api, "fanoutjobs", name) == {
        "Name": name,
        "State": "Running",
        "Progress": 40,
        "Succeeded": 3,
        "Failed": 1,
        "P99": 812,
        "Limited by": "Concurrency",
        "Cost": "0.42",
    }
    endpoint = {"url": "http://127.0.0.1:1/v1", "model": "small-1", "limits": {"concurrency": 64}}
    made = create(api, resource("ModelEndpoint", endpoint)).json()["metadata"]["name"]
    assert columns(api, "modelendpoints", made) == {
        "Name": made,
        "API": "OpenAI",
        "Model": "small-1",
        "URL": "http://127.0.0.1:1/v1",
        "Concurrency": 64,
    }


def columns(api: httpx.Client, plural: str, name: str) -> dict[str, Any]:
    """The table that kubectl get shows, without the age."""
    accept = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
    table = api.get(f"{RESOURCES}/{plural}/{name}", headers=accept).json()
    names = [c["name"] for c in table["columnDefinitions"]]
    shown = dict(zip(names, table["rows"][0]["cells"], strict=True))
    assert shown.pop("Age")
    return shown


@pytest.mark.skipif(program("kubectl") is None, reason="kubectl not found: run hack/kube/build.sh")
def test_kubectl_knows_the_short_names_and_the_category(server: ApiServer, api: httpx.Client) -> None:
    name = create(api, resource("FanOutJob", job_spec())).json()["metadata"]["name"]

    def kubectl(*words: str) -> str:
        command = [str(program("kubectl")), f"--kubeconfig={server.kubeconfig()}", *words]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout

    heading, *rows = kubectl("get", "foj").splitlines()
    assert heading.split() == ["NAME", "STATE", "PROGRESS", "SUCCEEDED", "FAILED", "P99", "AGE"]
    assert any(row.startswith(name) for row in rows)
    assert "LIMITED BY" in kubectl("get", "foj", "-o", "wide")
    assert f"fanoutjob.fanout.dev/{name}" in kubectl("get", "fanout", "-o", "name")
    assert kubectl("get", "mep", "-o", "name") is not None
    assert "Where the items come from" in kubectl("explain", "fanoutjob.spec.input")
