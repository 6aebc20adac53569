"""Chat completions: one task, or several that share a call.

API reference: OpenAI, "Create chat completion" (messages, response_format json_schema, max_tokens).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from fanout.api.base import JsonObject
from fanout.api.endpoint import ModelEndpointSpec
from fanout.broker.messages import Expect
from fanout.dispatch.lane import Assembled
from fanout.dispatch.verdict import Repair
from fanout.planning.tokens import estimate

PATH = "/chat/completions"
BATCH_INSTRUCTIONS = (
    'The user message holds several items, each within <item id="…"> and </item>. Treat every item by itself, as if it were '
    'the only one. Answer with one JSON object {"items": [{"id": "1", "value": …}]}: one entry per item, with the item\'s id, '
    "and as value your answer for that item."
)
LIMITS = ("max_tokens", "max_completion_tokens")
# What {"items":[…]} and {"id":"12","value":…}, take up beside the values, in tokens.
ENVELOPE_TOKENS = 16
ENVELOPE_TOKENS_PER_ITEM = 12
# However it is spelled: a model reads </ ITEM > as it reads </item>.
_CLOSING_TAG = re.compile(r"<(?=\s*/\s*item)", re.IGNORECASE)


@dataclass(frozen=True)
class AssembleChat:
    """Builds chat requests. The tasks' requests are JSON: a prompt (string) or the messages (array)."""

    name: str
    """Names the schema in response_format."""
    system: str = ""
    parameters: JsonObject = field(default_factory=dict)
    response_schema: JsonObject | None = None

    def __call__(self, requests: Sequence[bytes], endpoint: ModelEndpointSpec, repair: bytes | None) -> Assembled:
        body: dict[str, Any] = {"model": endpoint.model}
        if len(requests) == 1:
            body["messages"] = self._messages(requests[0], repair)
            body |= self.parameters
            schema = self.response_schema
        else:
            body["messages"] = self._batch_messages(requests)
            body |= self._batch_parameters(len(requests))
            schema = envelope(len(requests), self.response_schema)
        if schema is not None:
            body["response_format"] = {"type": "json_schema", "json_schema": {"name": self.name, "schema": schema}}
        expect = Expect(
            kind="chat",
            tasks=len(requests),
            batched=len(requests) > 1,
            schema=msgspec.json.encode(self.response_schema) if self.response_schema is not None else None,
        )
        return Assembled(PATH, msgspec.json.encode(body), expect)

    def _messages(self, request: bytes, repair: bytes | None) -> list[Any]:
        said = msgspec.json.decode(request)
        messages = said if isinstance(said, list) else [*self._system(), {"role": "user", "content": said}]
        if repair is not None:
            asked = msgspec.json.decode(repair, type=Repair)
            messages = [
                *messages,
                {"role": "assistant", "content": asked.text},
                {
                    "role": "user",
                    "content": f"That answer cannot be used: {asked.fault}. Answer again, in full, without it.",
                },
            ]
        return messages

    def _system(self, more: str = "") -> list[dict[str, str]]:
        content = "\n\n".join(part for part in (self.system, more) if part)
        return [{"role": "system", "content": content}] if content else []

    def _batch_messages(self, requests: Sequence[bytes]) -> list[dict[str, str]]:
        blocks = []
        for number, request in enumerate(requests, 1):
            # A document must not be able to end its own item and speak for another.
            prompt = _CLOSING_TAG.sub("&lt;", str(msgspec.json.decode(request)))
            blocks.append(f'<item id="{number}">{prompt}</item>')
        return [*self._system(BATCH_INSTRUCTIONS), {"role": "user", "content": "\n".join(blocks)}]

    def _batch_parameters(self, tasks: int) -> JsonObject:
        """max_tokens is per task: the call gets that many for each, and what the envelope takes."""
        parameters = dict(self.parameters)
        for name in LIMITS:
            if isinstance(limit := parameters.get(name), int):
                parameters[name] = tasks * (limit + ENVELOPE_TOKENS_PER_ITEM) + ENVELOPE_TOKENS
        return parameters

    def shared_tokens(self, tasks: int) -> int:
        """Estimated input tokens of a call of so many tasks, beside what the tasks themselves ask."""
        schema = self.response_schema if tasks == 1 else envelope(tasks, self.response_schema)
        texts = [self.system, msgspec.json.encode(schema).decode() if schema is not None else ""]
        if tasks > 1:
            texts += [BATCH_INSTRUCTIONS, '<item id="1"></item>\n' * tasks]
        return sum(estimate(text) for text in texts if text)

    def most_output_tokens(self, tasks: int) -> int | None:
        """Output tokens that a call of so many tasks may cost; None where no limit is set."""
        parameters = self.parameters if tasks == 1 else self._batch_parameters(tasks)
        limits = [parameters[name] for name in LIMITS if isinstance(parameters.get(name), int)]
        return max(limits, default=None)


def envelope(tasks: int, value: JsonObject | None) -> JsonObject:
    """JSON Schema of a batched answer: each id once, each value as the branch asks for."""
    value = dict(value or {"type": "string"})
    # References such as #/$defs/name are told from the root of the whole schema.
    definitions: JsonObject = {name: value.pop(name) for name in ("$defs", "definitions") if name in value}
    entry = {
        "type": "object",
        "properties": {"id": {"type": "string", "enum": [str(i + 1) for i in range(tasks)]}, "value": value},
        "required": ["id", "value"],
        "additionalProperties": False,
    }
    return {
        "type": "object",
        "properties": {"items": {"type": "array", "items": entry, "minItems": tasks, "maxItems": tasks}},
        "required": ["items"],
        "additionalProperties": False,
        **definitions,
    }
