"""From a job's spec to what the parser is told of it: no endpoint, no credential, nothing it has no use for."""

from __future__ import annotations

from typing import Any

import msgspec

from fanout.api.branch import Branch
from fanout.api.job import FanOutJobSpec
from fanout.planning.frames import BranchTemplates, ParseJob
from fanout.planning.source import detect_format


def parse_job(spec: FanOutJobSpec) -> ParseJob:
    """The parser's part of a job."""
    return ParseJob(
        format="Inline" if spec.input.uri is None else detect_format(spec.input.uri, spec.input.format),
        text_field=spec.input.text_field,
        id_field=spec.input.id_field,
        split_by=spec.split.by.value,
        max_tokens=spec.split.max_tokens,
        pattern=spec.split.pattern,
        branches=[_templates(branch) for branch in spec.map.branches],
        params=spec.params,
    )


def _templates(branch: Branch) -> BranchTemplates:
    chat, embed = branch.chat, branch.embed
    shared: dict[str, Any] = {"endpoints": branch.endpoints}
    if chat is not None:
        shared |= {"parameters": chat.parameters, "schema": chat.response_schema}
    if embed is not None:
        shared |= {"dimensions": embed.dimensions}
    prompt = None
    if chat is not None:
        prompt = chat.prompt
    elif embed is not None:
        prompt = embed.input
    return BranchTemplates(
        name=branch.name,
        kind=branch.kind,
        samples=branch.samples,
        system=chat.system if chat is not None else None,
        prompt=prompt,
        messages=[(m.role, m.content) for m in chat.messages] if chat is not None and chat.messages else None,
        identity=msgspec.json.encode(shared, order="sorted"),
    )
