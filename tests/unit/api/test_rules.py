"""Each rule of the resources: an example that breaks it, and only it, and one that keeps it (tests/data/rules.yaml)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from fanout.api import base
from fanout.api.checking import read
from fanout.api.endpoint import ModelEndpoint
from fanout.api.job import FanOutJob
from fanout.api.status import FanOutJobStatus

EXAMPLES = yaml.safe_load((Path(__file__).parents[2] / "data/rules.yaml").read_text())["rules"]
MODELS: dict[str, type[base.Model]] = {"FanOutJob": FanOutJob, "ModelEndpoint": ModelEndpoint}


def faults(example: dict[str, Any], spec: dict[str, Any]) -> list[tuple[str, str]]:
    kind = example.get("kind", "FanOutJob")
    body = {"apiVersion": "fanout.dev/v1alpha1", "kind": kind, "metadata": {"name": "a"}, "spec": spec}
    return [(fault.path, fault.message) for fault in read(MODELS[kind], body)[1]]


def named(examples: list[dict[str, Any]]) -> list[Any]:
    return [pytest.param(example, id=f"{i}-{example['path']}") for i, example in enumerate(examples)]


@pytest.mark.parametrize("example", named([e for e in EXAMPLES if "from" not in e]))
def test_a_rule_is_broken_by_its_example_and_kept_by_the_other(example: dict[str, Any]) -> None:
    assert faults(example, example["broken"]) == [(example["path"], example["message"])]
    assert faults(example, example["holds"]) == []


@pytest.mark.parametrize("example", named([e for e in EXAMPLES if "from" in e]))
def test_what_only_the_api_server_can_refuse_is_sound_in_itself(example: dict[str, Any]) -> None:
    for spec in ("from", "broken", "holds"):
        assert faults(example, example[spec]) == []


def every_model(model: type[base.Model] = base.Model) -> Iterator[type[base.Model]]:
    for each in model.__subclasses__():
        if each.__module__.startswith("fanout."):
            yield each
            yield from every_model(each)


def test_every_rule_has_an_example() -> None:
    assert FanOutJobStatus in every_model()
    rules = {rule.message for model in every_model() for rule in model.rules}
    assert len(rules) > 25
    bytes_rule = {
        rule.message for rule in FanOutJob.rules
    }  # its example is a test below: 64 KiB do not fit into a table
    assert {example["message"] for example in EXAMPLES} == rules - bytes_rule


@pytest.mark.parametrize(("length", "sound"), [(65536 - 4, True), (65536 - 3, False)])
def test_inline_items_are_at_most_64_kib(length: int, sound: bool) -> None:
    branch = {"name": "a", "endpoints": ["e"], "chat": {"prompt": "p"}}
    found = faults({}, {"input": {"items": ["x" * length]}, "map": {"branches": [branch]}})
    assert found == ([] if sound else [("spec.input.items", FanOutJob.rules[0].message)])
