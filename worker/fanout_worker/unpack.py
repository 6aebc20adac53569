"""From a response to the result message: classified, and taken apart into one answer per task."""

from __future__ import annotations

from typing import Any

from fanout.broker.messages import Answer, CallMessage, ResultMessage
from fanout.broker.outcome import Outcome
from fanout_worker.answers.batch import read_batch
from fanout_worker.answers.chat import UnexpectedBodyError, read_chat, read_choice
from fanout_worker.answers.embedding import read_embeddings
from fanout_worker.answers.passthrough import failed_passthrough, read_passthrough
from fanout_worker.answers.usage import read_usage
from fanout_worker.classify import Classification, classify, classify_hidden, request_id
from fanout_worker.clients.base import Response
from fanout_worker.error_body import error_in
from fanout_worker.json_body import JsonError, read_body


def unpack(
    message: CallMessage, response: Response, *, worker: str, now: float, latency_seconds: float
) -> ResultMessage:
    """The result of `message`'s call. Pure: may run in a thread. `now` is Unix time.

    A batched answer that was cut or filtered as a whole has no answers: the dispatcher makes the batch smaller.
    """
    passthrough = message.expect.kind == "passthrough"
    classified = classify(response, now)
    body: Any = None
    try:
        body = read_body(response.body)
    except JsonError as exc:
        if classified.outcome == Outcome.SUCCEEDED:
            classified = _not_the_api(response, f"the response is not JSON ({exc}): check the endpoint's url")
    answers: list[Answer] = []
    if classified.outcome == Outcome.SUCCEEDED and not passthrough:
        classified, answers = _read(message, response, body, classified, now)
    elif passthrough:
        failed = classified.outcome != Outcome.SUCCEEDED
        answers = [failed_passthrough(classified.outcome, response.body) if failed else read_passthrough(response.body)]
    return ResultMessage(
        epoch=message.epoch,
        call=message.call,
        endpoint=message.endpoint,
        worker=worker,
        outcome=classified.outcome,
        answers=answers,
        error=classified.message,
        http_status=response.status,
        request_id=classified.request_id,
        retry_after_seconds=classified.retry_after_seconds,
        usage=read_usage(body),
        latency_seconds=latency_seconds,
    )


def _read(
    message: CallMessage, response: Response, body: Any, classified: Classification, now: float
) -> tuple[Classification, list[Answer]]:
    """The answers of a 2xx, or why it is none after all."""
    if isinstance(body, dict) and body.get("error"):
        return classify_hidden(response, error_in(body), now), []
    try:
        if message.expect.kind == "embed":
            return classified, read_embeddings(body, message.expect)
        choice = read_choice(body)
    except UnexpectedBodyError as exc:
        return _not_the_api(response, str(exc)), []
    if not message.expect.batched:
        return classified, [read_chat(choice, message.expect)]
    if choice.outcome != Outcome.SUCCEEDED:
        return classified._replace(outcome=choice.outcome, message=choice.fault), []
    return classified, read_batch(choice, message.expect)


def _not_the_api(response: Response, message: str) -> Classification:
    return Classification(
        Outcome.SERVER_ERROR, f"HTTP {response.status}: {message}", request_id(response.headers), None
    )
