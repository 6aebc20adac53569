"""--set: where it writes, what it refuses, and whom a fault in what it wrote is blamed on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fanout.api.manifest import Manifests, load

TEXT = """\
apiVersion: fanout.dev/v1alpha1
kind: FanOutJob
metadata: {name: one}
spec:
  input: {items: [a, b]}
  map:
    branches:
    - {name: label, endpoints: [small], chat: {prompt: p, parameters: {temperature: 0}}}
---
apiVersion: fanout.dev/v1alpha1
kind: FanOutJob
metadata: {name: two}
spec:
  input: {items: [a]}
  map: {branches: [{name: v, endpoints: [small], embed: {}}]}
---
apiVersion: fanout.dev/v1alpha1
kind: ModelEndpoint
metadata: {name: small}
spec: {api: Simulated}
"""


def loaded(tmp_path: Path, *overrides: str) -> Manifests:
    path = tmp_path / "all.yaml"
    path.write_text(TEXT)
    return load([path], overrides)


def at(found: Manifests, kind: str, path: str) -> list[Any]:
    resources = [j.job for j in found.jobs] if kind == "FanOutJob" else [e.endpoint for e in found.endpoints]
    values = []
    for resource in resources:
        node: Any = resource.model_dump(mode="json")
        for part in path.split("."):
            node = node[int(part)] if part.isdigit() else node.get(part)
        values.append(node)
    return values


@pytest.mark.parametrize(
    ("override", "kind", "path", "values"),
    [
        ("map.parallelism=50", "FanOutJob", "spec.map.parallelism", [50, 50]),
        ("spec.map.parallelism=50", "FanOutJob", "spec.map.parallelism", [50, 50]),
        ("FanOutJob:map.parallelism=50", "FanOutJob", "spec.map.parallelism", [50, 50]),
        ("FanOutJob/two:map.parallelism=50", "FanOutJob", "spec.map.parallelism", [None, 50]),
        ("ModelEndpoint/small:limits.concurrency=3", "ModelEndpoint", "spec.limits.concurrency", [3]),
        ("ModelEndpoint:spec.limits={concurrency: 4}", "ModelEndpoint", "spec.limits.concurrency", [4]),
        ("map.branches[0].samples=3", "FanOutJob", "spec.map.branches.0.samples", [3, 3]),
        ("map.branches[0].endpoints[1]=other", "FanOutJob", "spec.map.branches.0.endpoints", [["small", "other"]] * 2),
        ("FanOutJob/one:input.items[0]=x=y: z", "FanOutJob", "spec.input.items.0", [{"x=y": "z"}, "a"]),
        ("metadata.labels.a\\.b/c=d", "FanOutJob", "metadata.labels", [{"a.b/c": "d"}] * 2),
        ("FanOutJob/one:map.branches[0].chat.prompt={{ chunk.text }}", "FanOutJob", "spec.map.branches.0.chat",
         [{"prompt": "{{ chunk.text }}", "system": None, "messages": None, "parameters": {"temperature": 0},
           "responseSchema": None}, None]),
        ("params.n='3'", "FanOutJob", "spec.params", [{"n": "3"}] * 2),
        ("params.url=http://h:1/x?a=b", "FanOutJob", "spec.params", [{"url": "http://h:1/x?a=b"}] * 2),
        ("completion=null", "FanOutJob", "spec.completion.minSuccessPercent", [100, 100]),
        ("reduce.steps[0].tally.field=value", "FanOutJob", "spec.reduce.steps.0.tally", [{"field": "value"}] * 2),
    ],
)  # fmt: skip
def test_where_it_writes(tmp_path: Path, override: str, kind: str, path: str, values: list[Any]) -> None:
    found = loaded(tmp_path, override)
    assert found.faults == []
    assert at(found, kind, path) == values


def test_the_last_of_two_wins(tmp_path: Path) -> None:
    found = loaded(tmp_path, "map.parallelism=5", "map.parallelism=6")
    assert at(found, "FanOutJob", "spec.map.parallelism") == [6, 6]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("map.parallelism", "write path=value, such as --set map.parallelism=50"),
        ("=5", "write path=value, such as --set map.parallelism=50"),
        ("FanOutJob/three:suspend=true", "there is no FanOutJob named three in these files"),
        ("FanoutJob:suspend=true", "FanoutJob is no kind of Fanout: did you mean FanOutJob?"),
        ("Secret:data.a=b", "Secret is no kind of Fanout: FanOutJob or ModelEndpoint"),
        ("map.branches[2].samples=1", "spec.map.branches[2]: the list has 1 entries: [1] would add one"),
        ("map.branches.samples=1", "spec.map.branches.samples: what holds it is no mapping of fields"),
        ("map[0]=1", "spec.map[0]: what holds it is no list"),
        ("map..order=Input", "map..order is no path: write it like map.branches[0].samples"),
        ("map.=1", "map. ends with a dot: name the field"),
        ("map.parallelism=[1", "the value: column 1: this is not YAML: "),
        ("params.a=Label: {{ x }}", 'the value: quote the template: "{{ … }}"; without quotes, braces are a mapping'),
    ],
)
def test_what_it_refuses(tmp_path: Path, override: str, message: str) -> None:
    (fault,) = loaded(tmp_path, override).faults
    assert str(fault).startswith(f"--set {override}: {message}")


def test_a_fault_in_what_it_wrote_names_it(tmp_path: Path) -> None:
    found = loaded(tmp_path, "FanOutJob/one:map.branches[0]={name: a, endpoint: [b]}", "FanOutJob/two:split.by=Tokens")
    written = "--set FanOutJob/one:map.branches[0]={name: a, endpoint: [b]}"
    assert [(fault.file.removeprefix(str(tmp_path)), fault.line, fault.path) for fault in found.faults] == [
        (written, None, "spec.map.branches[0].endpoints"),
        (written, None, "spec.map.branches[0].endpoint"),
        ("/all.yaml", 13, "spec.split.maxTokens"),  # the line of spec: the file has no split
    ]
