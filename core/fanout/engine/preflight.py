"""What can be wrong with a job that its schema cannot tell: its endpoints, templates, patterns and schemas."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import jsonschema
import re2

from fanout.api.base import Fault
from fanout.api.branch import Branch
from fanout.api.endpoint import ModelEndpointSpec
from fanout.api.job import FanOutJobSpec
from fanout.api.spelling import closest
from fanout.engine.lanes import endpoints_of, synthesis
from fanout.planning.template.check import check_template
from fanout.planning.template.roots import CONCAT, MAP, SYNTHESIZE, SYNTHESIZE_SYSTEM, SYSTEM


def faults(spec: FanOutJobSpec, endpoints: Mapping[str, ModelEndpointSpec]) -> list[Fault]:
    """Every such fault, with its path from the resource's root."""
    return [
        *_endpoint_faults(spec, endpoints),
        *_currency_faults(spec, endpoints),
        *_pattern_faults(spec),
        *_template_faults(spec),
        *_schema_faults(spec),
    ]


def missing_endpoints(spec: FanOutJobSpec, endpoints: Mapping[str, ModelEndpointSpec]) -> list[str]:
    """Names of endpoints that the job asks for and nobody defines."""
    return [name for name in endpoints_of(spec) if name not in endpoints]


def _endpoint_lists(spec: FanOutJobSpec) -> Iterator[tuple[str, list[str]]]:
    for i, branch in enumerate(spec.map.branches):
        yield f"spec.map.branches[{i}].endpoints", branch.endpoints
    step = synthesis(spec)
    if step is not None:
        yield "spec.reduce.steps[0].synthesize.endpoints", step.endpoints


def _endpoint_faults(spec: FanOutJobSpec, endpoints: Mapping[str, ModelEndpointSpec]) -> Iterator[Fault]:
    for path, names in _endpoint_lists(spec):
        for i, name in enumerate(names):
            if name in endpoints:
                continue
            close = closest(name, list(endpoints))
            known = f"did you mean {close}?" if close else f"there are: {', '.join(sorted(endpoints)) or 'none'}"
            yield Fault(
                f"{path}[{i}]", f'no ModelEndpoint "{name}" in these files: {known}; add its file to the command'
            )


def _currency_faults(spec: FanOutJobSpec, endpoints: Mapping[str, ModelEndpointSpec]) -> Iterator[Fault]:
    priced = {n: endpoints[n].pricing for n in endpoints_of(spec) if n in endpoints}
    currencies = {pricing.currency for pricing in priced.values() if pricing is not None}
    if len(currencies) > 1:
        yield Fault(
            "spec.map.branches",
            f"its endpoints have prices in {', '.join(sorted(currencies))}: a job's cost needs one currency",
        )


def _pattern_faults(spec: FanOutJobSpec) -> Iterator[Fault]:
    if spec.split.pattern is None:
        return
    options = re2.Options()
    options.log_errors = False
    try:
        re2.compile(spec.split.pattern, options)
    except re2.error as error:
        reason = error.args[0].decode() if error.args and isinstance(error.args[0], bytes) else str(error)
        yield Fault(
            "spec.split.pattern", f"is no RE2 expression: {reason} (RE2 has no look-around and no backreferences)"
        )


def _template_faults(spec: FanOutJobSpec) -> Iterator[Fault]:
    for i, branch in enumerate(spec.map.branches):
        for path, source, roots in _branch_templates(branch, f"spec.map.branches[{i}]"):
            yield from (Fault(path, problem) for problem in check_template(source, roots, spec.params))
    if not spec.reduce.steps:
        return
    step, here = spec.reduce.steps[0], "spec.reduce.steps[0]"
    templates: list[tuple[str, str | None, Any]] = []
    if step.concat is not None:
        templates.append((f"{here}.concat.template", step.concat.template, CONCAT))
    if step.synthesize is not None:
        templates.append((f"{here}.synthesize.system", step.synthesize.system, SYNTHESIZE_SYSTEM))
        templates.append((f"{here}.synthesize.prompt", step.synthesize.prompt, SYNTHESIZE))
    for path, template, roots in templates:
        if template is not None:
            yield from (Fault(path, problem) for problem in check_template(template, roots, spec.params))


def _branch_templates(branch: Branch, here: str) -> Iterator[tuple[str, str, Any]]:
    if branch.chat is not None:
        if branch.chat.system is not None:
            yield f"{here}.chat.system", branch.chat.system, SYSTEM
        if branch.chat.prompt is not None:
            yield f"{here}.chat.prompt", branch.chat.prompt, MAP
        for j, message in enumerate(branch.chat.messages or ()):
            yield f"{here}.chat.messages[{j}].content", message.content, MAP
    if branch.embed is not None:
        yield f"{here}.embed.input", branch.embed.input, MAP


def _schema_faults(spec: FanOutJobSpec) -> Iterator[Fault]:
    for i, branch in enumerate(spec.map.branches):
        if branch.response_schema is None:
            continue
        try:
            jsonschema.Draft202012Validator.check_schema(branch.response_schema)
        except jsonschema.SchemaError as error:
            yield Fault(
                f"spec.map.branches[{i}].chat.responseSchema",
                f"is no JSON Schema: {error.message} at {error.json_path}",
            )
