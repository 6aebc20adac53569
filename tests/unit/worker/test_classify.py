"""Error responses as the servers word them, each with the outcome it must have."""

import msgspec
import pytest

from fanout.broker.outcome import Outcome
from fanout_worker.classify import classify, classify_hidden
from fanout_worker.clients.base import Response
from fanout_worker.error_body import error_in

OPENAI_LENGTH = {
    "error": {
        "message": "This model's maximum context length is 8192 tokens. However, your messages resulted in 9001 tokens.",
        "type": "invalid_request_error",
        "param": "messages",
        "code": "context_length_exceeded",
    }
}
AZURE_FILTER = {
    "error": {
        "message": "The response was filtered due to the prompt triggering the content management policy.",
        "type": None,
        "param": "prompt",
        "code": "content_filter",
        "status": 400,
        "innererror": {"code": "ResponsibleAIPolicyViolation"},
    }
}
VLLM_OLD_LENGTH = {
    "object": "error",
    "message": "This model's maximum context length is 4096 tokens, but 5000 were requested.",
    "type": "BadRequestError",
    "param": None,
    "code": 400,
}
LLAMA_LENGTH = {
    "error": {
        "code": 400,
        "message": "the request exceeds the available context size",
        "type": "exceed_context_size_error",
        "n_prompt_tokens": 5000,
        "n_ctx": 4096,
    }
}
LITELLM_RATE = {
    "error": {
        "message": "litellm.RateLimitError: RateLimitError: OpenAIException - slow down",
        "type": "throttling_error",
        "param": None,
        "code": "429",
    }
}
LITELLM_FILTER = {
    "error": {"message": "litellm.ContentPolicyViolationError: refused by the filter", "type": None, "code": "400"}
}
LITELLM_LENGTH = {"error": {"message": "litellm.ContextWindowExceededError: 5000 > 4096", "type": None, "code": "400"}}
FASTAPI = {"detail": [{"loc": ["body", "messages", 0], "msg": "Field required", "type": "missing"}]}
QUOTA = {
    "error": {"message": "You exceeded your current quota.", "type": "insufficient_quota", "code": "insufficient_quota"}
}


def said(message, **more):
    return {"error": {"message": message, **more}}


CASES = [
    (200, {"choices": []}, Outcome.SUCCEEDED),
    (429, said("Rate limit reached", code="rate_limit_exceeded"), Outcome.RATE_LIMITED),
    (429, LITELLM_RATE, Outcome.RATE_LIMITED),
    (429, said("The engine is currently overloaded"), Outcome.RATE_LIMITED),
    (429, said("Request too large for m on tokens per min (TPM): Limit 100, Requested 200."), Outcome.CONTEXT_TOO_LONG),
    (429, QUOTA, Outcome.UNAUTHORIZED),
    (402, said("Payment required"), Outcome.UNAUTHORIZED),
    (500, said("The server had an error"), Outcome.SERVER_ERROR),
    (500, said("The model is overloaded with other requests"), Outcome.OVERLOADED),
    (502, b"<html><h1>502 Bad Gateway</h1></html>", Outcome.SERVER_ERROR),
    (503, said("Loading model", type="unavailable_error", code=503), Outcome.OVERLOADED),
    (529, {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}, Outcome.OVERLOADED),
    (504, b"", Outcome.TIMEOUT),
    (408, b"", Outcome.TIMEOUT),
    (524, b"error code: 524", Outcome.TIMEOUT),
    (401, said("Incorrect API key provided", code="invalid_api_key"), Outcome.UNAUTHORIZED),
    (401, {"statusCode": 401, "message": "Access denied due to invalid subscription key."}, Outcome.UNAUTHORIZED),
    (403, b"forbidden", Outcome.UNAUTHORIZED),
    (404, said("The API deployment does not exist", code="DeploymentNotFound"), Outcome.NOT_FOUND),
    (404, {"error": "model 'x' not found, try pulling it first"}, Outcome.NOT_FOUND),
    (404, {"detail": "Not Found"}, Outcome.NOT_FOUND),
    (405, {"detail": "Method Not Allowed"}, Outcome.NOT_FOUND),
    (400, OPENAI_LENGTH, Outcome.CONTEXT_TOO_LONG),
    (400, VLLM_OLD_LENGTH, Outcome.CONTEXT_TOO_LONG),
    (400, LLAMA_LENGTH, Outcome.CONTEXT_TOO_LONG),
    (400, LITELLM_LENGTH, Outcome.CONTEXT_TOO_LONG),
    (400, said("prompt is too long: 210000 tokens > 200000 maximum"), Outcome.CONTEXT_TOO_LONG),
    (
        400,
        said("The input token count (40000) exceeds the maximum number of tokens allowed (32768)."),
        Outcome.CONTEXT_TOO_LONG,
    ),
    (422, said("Input is too long for requested model."), Outcome.CONTEXT_TOO_LONG),
    (413, b"", Outcome.CONTEXT_TOO_LONG),
    (500, LLAMA_LENGTH, Outcome.CONTEXT_TOO_LONG),
    (400, AZURE_FILTER, Outcome.CONTENT_FILTERED),
    (400, LITELLM_FILTER, Outcome.CONTENT_FILTERED),
    (403, said("Your request violated the usage policies", code="moderation_blocked"), Outcome.CONTENT_FILTERED),
    (
        400,
        said("max_tokens is too large: 100000. This model supports at most 4096 completion tokens"),
        Outcome.BAD_REQUEST,
    ),
    (400, said("'messages[0].name' is too long: at most 64 characters"), Outcome.BAD_REQUEST),
    (400, said("Unknown parameter: 'temprature'", code="unknown_parameter"), Outcome.BAD_REQUEST),
    (422, FASTAPI, Outcome.BAD_REQUEST),
    (418, b"\xff\xfe teapot", Outcome.BAD_REQUEST),
    (400, b"[" * 100_000, Outcome.BAD_REQUEST),
    (400, [1, 2], Outcome.BAD_REQUEST),
    (302, b"", Outcome.NOT_FOUND),
]


def response(status, body, headers=None):
    return Response(status, headers or {}, body if isinstance(body, bytes) else msgspec.json.encode(body))


@pytest.mark.parametrize(("status", "body", "outcome"), CASES)
def test_outcome(status, body, outcome):
    assert classify(response(status, body), 0).outcome == outcome


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (429, LITELLM_RATE, "slow down"),
        (401, said("Incorrect API key"), "auth.secretRef"),
        (404, {"error": "model 'x' not found"}, "check the endpoint's url and model"),
        (400, VLLM_OLD_LENGTH, "split.maxTokens"),
        (422, FASTAPI, "body.messages.0: Field required"),
        (502, b"<html><h1>Bad Gateway</h1>", "web page"),
        (429, QUOTA, "no credit left"),
        (500, b"plain words\nin lines", "HTTP 500: plain words in lines"),
    ],
)
def test_message_says_what_and_what_to_do(status, body, words):
    assert words in classify(response(status, body), 0).message


def test_message_is_bounded():
    for body in (said("x" * 100_000), b"y" * 100_000, {"detail": ["z" * 100_000] * 50}, said({"a": "b" * 100_000})):
        assert len(classify(response(400, body), 0).message) < 1200


def test_redirect_names_the_target_without_its_secrets():
    headers = {"location": "https://user:hush@other.example/v1/chat?token=hush"}
    message = classify(response(307, b"", headers), 0).message
    assert "https://other.example/v1/chat" in message
    assert "hush" not in message


def test_request_id_and_wait_come_from_the_headers():
    headers = {"apim-request-id": "abc", "retry-after": "3"}
    classified = classify(response(429, b"{}", headers), 0)
    assert (classified.request_id, classified.retry_after_seconds) == ("abc", 3.0)


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        (said("Rate limited upstream", code=429), Outcome.RATE_LIMITED),
        (said("Provider returned error", code="503"), Outcome.OVERLOADED),
        (said("no idea"), Outcome.SERVER_ERROR),
        (said("no idea", code=7), Outcome.SERVER_ERROR),
    ],
)
def test_error_inside_a_200_goes_by_the_status_it_names(body, outcome):
    assert classify_hidden(response(200, body), error_in(body), 0).outcome == outcome
