"""Chat completions: the one choice's text, or why there is none."""

from __future__ import annotations

from typing import Any, NamedTuple

from fanout.broker.messages import Answer, Expect
from fanout.broker.outcome import Outcome
from fanout_worker.error_body import shorten
from fanout_worker.json_body import clean, write_json
from fanout_worker.structured.parse import parse_with_schema
from fanout_worker.structured.schema import compile_schema

MAX_SHOWN_TEXT = 16 * 1024
"""Of an answer at fault, in characters: it is shown to the model again, and need not be whole for that."""


class UnexpectedBodyError(Exception):
    """The response is not what the API gives; the message says what is missing."""


class Choice(NamedTuple):
    """The first choice of a chat completion."""

    text: str
    finish_reason: str
    outcome: Outcome
    """Succeeded, Truncated or ContentFiltered."""
    fault: str


def read_choice(body: Any) -> Choice:
    """choices[0] of a chat completion; raises UnexpectedBodyError."""
    choices = body.get("choices") if isinstance(body, dict) else None
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(choice, dict) or not isinstance(message, dict):
        raise UnexpectedBodyError(
            "the response has no choices[0].message: is the endpoint's url that of an OpenAI-compatible API?"
        )
    finish = choice.get("finish_reason")
    finish = finish[:64] if isinstance(finish, str) else ""
    text = _text(message.get("content"))
    refusal = message.get("refusal")
    if finish == "content_filter":
        return Choice(text, finish, Outcome.CONTENT_FILTERED, "the provider's filter cut the answer")
    if isinstance(refusal, str) and refusal.strip():
        return Choice(text, finish, Outcome.CONTENT_FILTERED, f"the model refused: {shorten(refusal)}")
    if finish == "length":
        return Choice(text, finish, Outcome.TRUNCATED, "the answer was cut at max_tokens: raise it, or ask for less")
    return Choice(text, finish, Outcome.SUCCEEDED, "")


def read_chat(choice: Choice, expect: Expect) -> Answer:
    """The answer to an unbatched chat call."""
    if choice.outcome != Outcome.SUCCEEDED:
        return Answer(outcome=choice.outcome, finish_reason=choice.finish_reason, fault=choice.fault)
    if not choice.text.strip():
        return bad_output("the answer is empty", "", choice.finish_reason)
    if expect.schema is None:
        return Answer(value=write_json(choice.text), finish_reason=choice.finish_reason)
    value, fault = parse_with_schema(choice.text, compile_schema(expect.schema))
    return (
        bad_output(fault, choice.text, choice.finish_reason)
        if fault
        else Answer(value=value, finish_reason=choice.finish_reason)
    )


def bad_output(fault: str, text: str, finish_reason: str) -> Answer:
    """An answer at fault, with as much of its text as a model needs to see."""
    return Answer(outcome=Outcome.BAD_OUTPUT, fault=fault, text=text[:MAX_SHOWN_TEXT], finish_reason=finish_reason)


def _text(content: Any) -> str:
    """A message's content: a string, or some servers' list of parts."""
    if isinstance(content, str):
        return clean(content)
    if isinstance(content, list):
        parts = [part.get("text") for part in content if isinstance(part, dict) and part.get("type") == "text"]
        return clean("".join(part for part in parts if isinstance(part, str)))
    return ""
