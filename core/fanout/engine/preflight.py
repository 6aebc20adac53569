"""What can be wrong with a job that its schema cannot tell: its endpoints, templates, patterns and schemas."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import jsonschema_rs

from fanout.api.base import Fault
from fanout.api.branch import Branch
from fanout.api.endpoint import ModelEndpointSpec
from fanout.api.job import FanOutJobSpec
from fanout.api.spelling import closest
from fanout.engine.lanes import endpoints_of, synthesis
from fanout.planning.sandbox.split.pattern import PatternError, PatternSplit
from fanout.planning.sandbox.template.check import check_template
from fanout.planning.sandbox.template.roots import Place, roots_of


def faults(spec: FanOutJobSpec, endpoints: Mapping[str, ModelEndpointSpec]) -> list[Fault]:
    """Every such fault, with its path from the resource's root."""
    return [
        *_endpoint_faults(spec, endpoints),
        *_currency_faults(spec, endpoints),
        *_pattern_faults(spec),
        *_template_faults(spec),
        *_schema_faults(spec),
    ]


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
    try:
        PatternSplit(spec.split.pattern)  # as the parser will compile it, memory limit and all
    except PatternError as error:
        reason = str(error).removeprefix("split.pattern ")
        yield Fault("spec.split.pattern", f"{reason} (RE2 has no look-around and no backreferences)")


def _template_faults(spec: FanOutJobSpec) -> Iterator[Fault]:
    for path, place, source in _templates(spec):
        if source is not None:
            yield from (Fault(path, problem) for problem in check_template(source, roots_of(place, spec.params)))


def _templates(spec: FanOutJobSpec) -> Iterator[tuple[str, Place, str | None]]:
    """Every template of a job: its path, what it may name, its source."""
    for i, branch in enumerate(spec.map.branches):
        yield from _branch_templates(branch, f"spec.map.branches[{i}]")
    for i, step in enumerate(spec.reduce.steps):
        here = f"spec.reduce.steps[{i}]"
        if step.concat is not None:
            yield f"{here}.concat.template", "concat", step.concat.template
        if step.synthesize is not None:
            yield f"{here}.synthesize.system", "synthesizeSystem", step.synthesize.system
            yield f"{here}.synthesize.prompt", "synthesize", step.synthesize.prompt


def _branch_templates(branch: Branch, here: str) -> Iterator[tuple[str, Place, str | None]]:
    if branch.chat is not None:
        yield f"{here}.chat.system", "system", branch.chat.system
        yield f"{here}.chat.prompt", "map", branch.chat.prompt
        for j, message in enumerate(branch.chat.messages or ()):
            yield f"{here}.chat.messages[{j}].content", "map", message.content
    if branch.embed is not None:
        yield f"{here}.embed.input", "map", branch.embed.input


def _schema_faults(spec: FanOutJobSpec) -> Iterator[Fault]:
    for i, branch in enumerate(spec.map.branches):
        if branch.response_schema is None:
            continue
        path = f"spec.map.branches[{i}].chat.responseSchema"
        try:
            # As the worker will compile it: patterns in linear time, nothing fetched.
            jsonschema_rs.validator_for(
                branch.response_schema, pattern_options=jsonschema_rs.RegexOptions(), offline=True
            )
        except jsonschema_rs.ValidationError as error:
            place = ".".join(map(str, error.instance_path))
            yield Fault(f"{path}.{place}" if place else path, f"is no JSON Schema: {error.message}")
        except (ValueError, jsonschema_rs.ReferencingError) as error:
            yield Fault(path, f"cannot be used: {error}")
