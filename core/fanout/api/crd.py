"""The CustomResourceDefinitions, made from the models. `python -m fanout.api.crd DIR` writes them into DIR."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import yaml

from fanout.api.base import GROUP, VERSION, Model
from fanout.api.endpoint import ModelEndpoint
from fanout.api.job import FanOutJob
from fanout.api.meta import ObjectMeta
from fanout.api.schema import Schema, structural
from fanout.api.status import FanOutJobStatus

HEADER = "# Generated from core/fanout/api by `python -m fanout.api.crd crds`. Change the models, not this file.\n"


def crds() -> list[Schema]:
    """Both CustomResourceDefinitions, as Kubernetes takes them."""
    job_status = _without_defaults(structural(FanOutJobStatus))
    return [
        _crd(FanOutJob, "fanoutjobs", "foj", _JOB_COLUMNS, status=job_status),
        _crd(ModelEndpoint, "modelendpoints", "mep", _ENDPOINT_COLUMNS),
    ]


def to_yaml(*definitions: Schema) -> str:
    """The definitions as YAML documents; both where none is given."""
    return "---\n".join(
        yaml.dump(each, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)
        for each in definitions or crds()
    )


def write(folder: Path) -> list[Path]:
    """Writes one file per resource into `folder` and returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for each in crds():
        path = folder / f"{each['spec']['names']['plural']}.yaml"
        path.write_text(HEADER + to_yaml(each), encoding="utf-8")
        paths.append(path)
    return paths


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        return True  # people read it, and `&id001` says nothing to them


def _column(name: str, path: str, kind: str = "string", *, wide: bool = False) -> Schema:
    return {"name": name, "type": kind, "jsonPath": path} | ({"priority": 1} if wide else {})


_AGE = _column("Age", ".metadata.creationTimestamp", "date")
_JOB_COLUMNS = [
    _column("State", ".status.state"),
    _column("Progress", ".status.progressPercent", "integer"),
    _column("Succeeded", ".status.chunks.succeeded", "integer"),
    _column("Failed", ".status.chunks.failed", "integer"),
    _column("P99", ".status.latency.p99Milliseconds", "integer"),
    _column("Limited by", ".status.limitedBy", wide=True),
    _column("Cost", ".status.usage.cost", wide=True),
    _AGE,
]
_ENDPOINT_COLUMNS = [
    _column("API", ".spec.api"),
    _column("Model", ".spec.model"),
    _column("URL", ".spec.url", wide=True),
    _column("Concurrency", ".spec.limits.concurrency", "integer"),
    _AGE,
]


def _crd(model: type[Model], plural: str, short: str, columns: list[Schema], *, status: Schema | None = None) -> Schema:
    kind = model.__name__
    version: Schema = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": _root(model, status)},
        "additionalPrinterColumns": columns,
    }
    if status is not None:
        version["subresources"] = {"status": {}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "names": {
                "kind": kind,
                "listKind": f"{kind}List",
                "plural": plural,
                "singular": kind.lower(),
                "shortNames": [short],
                "categories": ["fanout"],
            },
            "scope": "Namespaced",
            "versions": [version],
        },
    }


def _root(model: type[Model], status: Schema | None) -> Schema:
    schema = structural(model)
    # Of metadata, which is Kubernetes' own, a CRD may say only this.
    name = structural(ObjectMeta)["properties"]["name"]
    properties = {
        "apiVersion": {"type": "string", "description": f"The version of this form: {GROUP}/{VERSION}."},
        "kind": {"type": "string", "description": f"The kind of resource: {model.__name__}."},
        "metadata": {"type": "object", "properties": {"name": name}},
        "spec": schema["properties"]["spec"],
    }
    if status is not None:
        properties["status"] = {**status, "description": "What is known of it; written by the operator."}
    return {**schema, "properties": properties, "required": ["spec"]}


def _without_defaults(node: Schema) -> Schema:
    """A status says what was observed: the API server must not make it up."""
    result = {k: v for k, v in node.items() if k != "default"}
    if "properties" in node:
        result["properties"] = {name: _without_defaults(each) for name, each in node["properties"].items()}
    for key in ("items", "additionalProperties"):
        if key in node:
            result[key] = _without_defaults(node[key])
    return result


if __name__ == "__main__":
    for written in write(Path(sys.argv[1] if len(sys.argv) > 1 else "crds")):
        print(written)
