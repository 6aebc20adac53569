"""Answers of /v1/chat/completions."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
from jsonschema.exceptions import SchemaError

from fanout_worker.simulated.arithmetic import computed
from fanout_worker.simulated.batch import batched_items, value_schema, without_batch_instructions
from fanout_worker.simulated.errors import ApiError
from fanout_worker.simulated.instance import instance
from fanout_worker.simulated.prompt import Prompt, cut_to_tokens, estimate_tokens
from fanout_worker.simulated.request import (
    check_format,
    check_integer,
    check_messages,
    check_model,
    check_temperature,
)
from fanout_worker.simulated.schema import CompiledSchema, compiled

# How the engine asks again: the question is then the one before.
_CORRECTION = "That answer cannot be used"


@dataclass(slots=True)
class ChatAnswer:
    """What the model has to say, before a failure may spoil it."""

    model: str
    contents: list[str]
    """One per choice (parameter n)."""
    finish_reason: str
    prompt_tokens: int
    structured: bool
    """Whether the content is to be JSON."""

    @property
    def completion_tokens(self) -> int:
        """Tokens of all choices."""
        return sum(estimate_tokens(content) for content in self.contents if content)

    @property
    def tokens(self) -> int:
        """What counts against a limit of tokens."""
        return self.prompt_tokens + self.completion_tokens

    def body(self, number: int) -> dict[str, Any]:
        """The response's JSON; `number` tells responses apart."""
        return {
            "id": f"chatcmpl-{number:012d}",
            "object": "chat.completion",
            "created": int(time.time()),
            "model": self.model,
            "choices": [
                {
                    "index": index,
                    "message": {"role": "assistant", "content": content, "refusal": None},
                    "logprobs": None,
                    "finish_reason": self.finish_reason,
                }
                for index, content in enumerate(self.contents)
            ],
            "usage": {
                "prompt_tokens": self.prompt_tokens,
                "completion_tokens": self.completion_tokens,
                "total_tokens": self.tokens,
                "prompt_tokens_details": {"cached_tokens": 0},
            },
        }


@dataclass(slots=True)
class ChatRequest:
    """A checked request."""

    model: str
    messages: list[tuple[str, str]]
    format: str
    schema: Any
    max_tokens: int | None
    choices: int
    prompt_tokens: int

    @classmethod
    def read(cls, body: dict[str, Any]) -> ChatRequest:
        """Checks `body`. Raises ApiError (400)."""
        model = check_model(body)
        messages = check_messages(body)
        check_temperature(body)
        if body.get("stream"):
            raise ApiError(
                400, "Streaming is not simulated: leave out 'stream'.", param="stream", code="unsupported_value"
            )
        kind, schema = check_format(body)
        old, new = (check_integer(body, name, 1) for name in ("max_tokens", "max_completion_tokens"))
        size = sum(len(text.encode("utf-8", "surrogatepass")) for _, text in messages)
        return cls(
            model,
            messages,
            kind,
            schema,
            new if new is not None else old,
            check_integer(body, "n", 1, 128) or 1,
            max(1, -(-size // 4)),
        )

    def answer(self, seed: int) -> ChatAnswer:
        """The answer: the same for the same request. Raises ApiError (400) for a schema that is none."""
        content, finish = self._content(seed), "stop"
        if self.max_tokens is not None and estimate_tokens(content) > self.max_tokens:
            content, finish = cut_to_tokens(content, self.max_tokens), "length"
        return ChatAnswer(
            self.model, [content] * self.choices, finish, self.prompt_tokens, structured=self.format != "text"
        )

    def _content(self, seed: int) -> str:
        system = "\n\n".join(text for role, text in self.messages if role in ("system", "developer"))
        text = self._question()
        if self.format == "text":
            return _text(Prompt(system, text, seed))
        if self.format == "json_object":
            return _json({"answer": _text(Prompt(system, text, seed))})
        schema = _compiled(self.schema)
        items = batched_items(text, self.schema)
        if items is None:
            return _json(_value(schema, Prompt(system, text, seed)))
        system = without_batch_instructions(system)
        alone = value_schema(self.schema)
        asked = None if alone is None else _compiled(alone)
        entries = [{"id": name, "value": _value(asked, Prompt(system, item, seed))} for name, item in items]
        return _json({"items": entries})

    def _question(self) -> str:
        """The last message that asks something."""
        for text in self._said_by_users():
            if not text.startswith(_CORRECTION):
                return text
        return self.messages[-1][1]

    def _said_by_users(self) -> Iterator[str]:
        return (text for role, text in reversed(self.messages) if role == "user")


def _text(prompt: Prompt) -> str:
    return computed(prompt.text) or prompt.extract()


def _value(schema: CompiledSchema | None, prompt: Prompt) -> Any:
    if schema is None or schema.root == {"type": "string"}:
        return _text(prompt)
    return instance(schema, prompt)


def _compiled(schema: Any) -> CompiledSchema:
    try:
        return compiled(schema)
    except SchemaError as error:
        where = "/".join(str(part) for part in error.absolute_path)
        message = f"Invalid schema for response_format: {error.message[:300]}" + (f" (at {where})" if where else "")
        raise ApiError(400, message, param="response_format", code="invalid_json_schema") from error


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
