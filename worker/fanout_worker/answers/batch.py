"""Batched chat calls: {"items": [{"id": "1", "value": …}]} taken apart by id, each answer judged by itself."""

from __future__ import annotations

from typing import Any

from fanout.broker.messages import Answer, Expect
from fanout_worker.answers.chat import Choice, bad_output
from fanout_worker.json_body import JsonError, write_json
from fanout_worker.structured.parse import parse
from fanout_worker.structured.schema import Schema, compile_schema

_ENVELOPE_FAULT = 'the answer must be an object {"items": [{"id": "1", "value": …}, …]} with one entry per item'


def read_batch(choice: Choice, expect: Expect) -> list[Answer]:
    """One answer per task, in their order; a wrong or missing entry fails its own task only."""
    if not choice.text.strip():
        return [bad_output("the answer is empty", "", choice.finish_reason)] * expect.tasks
    parsed = parse(choice.text, _envelope_fault)
    if parsed.fault:
        return [bad_output(parsed.fault, choice.text, choice.finish_reason)] * expect.tasks
    entries = _by_id(parsed.value["items"])
    if "0" in entries:
        # Counted from 0, every id that looks right belongs to another item.
        return [bad_output("ids begin at 1, as in the request, not at 0", "", choice.finish_reason)] * expect.tasks
    schema = compile_schema(expect.schema) if expect.schema is not None else None
    return [_answer(str(i), entries.get(str(i), []), schema, choice.finish_reason) for i in range(1, expect.tasks + 1)]


def _envelope_fault(value: Any) -> str:
    return "" if isinstance(value, dict) and isinstance(value.get("items"), list) else _ENVELOPE_FAULT


def _by_id(items: list[Any]) -> dict[str, list[Any]]:
    """Every entry's value by its id (as a string: some models answer with numbers)."""
    entries: dict[str, list[Any]] = {}
    for item in items:
        if isinstance(item, dict) and "value" in item and isinstance(item.get("id"), str | int):
            entries.setdefault(str(item["id"]).strip(), []).append(item["value"])
    return entries


def _answer(identity: str, values: list[Any], schema: Schema | None, finish_reason: str) -> Answer:
    if not values:
        return bad_output(f"the answer has no entry with id {identity} and a value", "", finish_reason)
    try:
        texts = {write_json(value) for value in values}
    except JsonError as exc:
        return bad_output(f"the value cannot be kept: {exc}", "", finish_reason)
    text = texts.pop()
    if texts:
        return bad_output(f"the answer has several entries with id {identity}", "", finish_reason)
    fault = schema.fault(values[0]) if schema is not None else _text_fault(values[0])
    return bad_output(fault, text.decode(), finish_reason) if fault else Answer(value=text, finish_reason=finish_reason)


def _text_fault(value: Any) -> str:
    if not isinstance(value, str):
        return "the value must be a string"
    return "" if value.strip() else "the answer is empty"
