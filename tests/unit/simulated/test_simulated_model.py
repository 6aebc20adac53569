"""The simulated model as a whole: limits, failures and latency in their order and shares."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import Any

import msgspec
import pytest

from fanout.api.simulated import Latency, Simulated
from fanout_worker.simulated.model import SimulatedModel, SimulatedResponse

SCHEMA = {
    "type": "object",
    "required": ["label", "score"],
    "properties": {"label": {"type": "string"}, "score": {"type": "integer"}},
}
TEXT = "The printer is on fire. It has burnt since Monday."


def chat(text: str = TEXT, *, structured: bool = False) -> dict[str, Any]:
    body: dict[str, Any] = {"model": "any", "messages": [{"role": "user", "content": text}]}
    if structured:
        body["response_format"] = {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}
    return body


def content(response: SimulatedResponse) -> str:
    assert isinstance(response.body, dict)
    return response.body["choices"][0]["message"]["content"]


async def respond(model: SimulatedModel, body: dict[str, Any] | None = None) -> SimulatedResponse:
    return await model.respond("/chat/completions", chat() if body is None else body)


async def test_paths_with_and_without_the_version() -> None:
    model = SimulatedModel(Simulated())
    first = await model.respond("/v1/chat/completions", chat())
    assert first.status == 200
    assert content(first) == content(await model.respond("/chat/completions", chat()))
    assert (await model.respond("/v1/embeddings", {"model": "any", "input": "a"})).status == 200
    unknown = await model.respond("/v1/images", {})
    assert unknown.status == 404
    assert unknown.body["error"]["message"] == "Invalid URL (POST /v1/images)"
    assert first.headers["x-request-id"] != unknown.headers["x-request-id"]


@pytest.mark.looptime
async def test_a_call_takes_its_latency() -> None:
    model = SimulatedModel(Simulated(latency=Latency(p50_milliseconds=500, p99_milliseconds=500)))
    loop = asyncio.get_running_loop()
    start = loop.time()
    await asyncio.gather(*(respond(model) for _ in range(10)))
    assert loop.time() - start == pytest.approx(0.5)
    assert model.stats.snapshot()["maxInFlight"] == 10


@pytest.mark.looptime
async def test_requests_over_the_limit_get_429_until_the_time_it_names() -> None:
    model = SimulatedModel(Simulated(requests_per_minute=2))
    assert [(await respond(model)).status for _ in range(3)] == [200, 200, 429]
    await asyncio.sleep(15)
    refused = await respond(model)
    assert refused.status == 429
    assert refused.headers["retry-after"] == "45"
    assert refused.headers["x-ratelimit-remaining-requests"] == "0"
    assert refused.body["error"]["code"] == "rate_limit_exceeded"
    await asyncio.sleep(int(refused.headers["retry-after-ms"]) / 1000)
    assert (await respond(model)).status == 200


@pytest.mark.looptime
async def test_tokens_count_input_and_output() -> None:
    used = (await respond(SimulatedModel(Simulated()))).body["usage"]["total_tokens"]
    model = SimulatedModel(Simulated(tokens_per_minute=2 * used))
    assert [(await respond(model)).status for _ in range(3)] == [200, 200, 429]
    too_large = await respond(model, chat(TEXT * 20))
    assert too_large.status == 429
    assert "Request too large" in too_large.body["error"]["message"]
    assert "retry-after" not in too_large.headers


@pytest.mark.looptime
async def test_concurrency_is_a_limit_of_its_own() -> None:
    model = SimulatedModel(Simulated(concurrency=3, latency=Latency(p50_milliseconds=200, p99_milliseconds=200)))
    statuses = [response.status for response in await asyncio.gather(*(respond(model) for _ in range(5)))]
    assert Counter(statuses) == {200: 3, 429: 2}
    assert (await respond(model)).status == 200


async def test_refused_calls_use_up_nothing() -> None:
    model = SimulatedModel(Simulated(requests_per_minute=2))
    bad = chat() | {"messages": "not a list"}
    assert [(await respond(model, bad)).status for _ in range(5)] == [400] * 5
    assert [(await respond(model)).status for _ in range(2)] == [200, 200]


async def test_errors_come_in_their_shares() -> None:
    model = SimulatedModel(Simulated(error_percent=10, overloaded_percent=20))
    counts = Counter([(await respond(model)).status for _ in range(4000)])
    assert counts[500] == pytest.approx(400, abs=80)
    assert counts[503] == pytest.approx(800, abs=110)
    assert counts[200] == 4000 - counts[500] - counts[503]


async def test_overload_says_when_to_come_back() -> None:
    response = await respond(SimulatedModel(Simulated(overloaded_percent=100)))
    assert (response.status, response.headers["retry-after"]) == (503, "1")
    assert response.body["error"]["type"] == "server_error"


@pytest.mark.looptime
async def test_a_hanging_call_ends_with_its_client_and_frees_its_place() -> None:
    model = SimulatedModel(Simulated(hang_percent=100, concurrency=1))
    for _ in range(2):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(respond(model), 3600)
    stats = model.stats.snapshot()
    assert (stats["cancelled"], stats["inFlight"], stats["requests"]) == (2, 0, 2)


async def test_truncated_answers_are_about_half_and_say_length() -> None:
    whole = content(await respond(SimulatedModel(Simulated())))
    cut = await respond(SimulatedModel(Simulated(truncated_percent=100)))
    assert whole.startswith(content(cut))
    assert 0.3 < len(content(cut)) / len(whole) < 0.7
    assert cut.body["choices"][0]["finish_reason"] == "length"


async def test_empty_answers_have_no_content() -> None:
    response = await respond(SimulatedModel(Simulated(empty_percent=100)))
    assert content(response) == ""
    assert response.body["usage"]["completion_tokens"] == 0


async def test_garbage_is_of_several_kinds_where_a_schema_asks() -> None:
    model = SimulatedModel(Simulated(garbage_percent=100))
    kinds = set()
    for _ in range(40):
        text = content(await respond(model, chat(structured=True)))
        if "```" in text:
            kinds.add("fenced")
        else:
            try:
                kinds.add(tuple(json.loads(text)))
            except ValueError:
                kinds.add("broken")
    assert kinds == {"fenced", "broken", ("label",)}


async def test_garbage_elsewhere_is_a_body_that_is_not_json() -> None:
    model = SimulatedModel(Simulated(garbage_percent=100))
    for path, body in (("/chat/completions", chat()), ("/embeddings", {"model": "any", "input": "a"})):
        response = await model.respond(path, body)
        assert response.status == 200
        assert isinstance(response.body, bytes)
        with pytest.raises(msgspec.DecodeError):
            msgspec.json.decode(response.body)


async def test_embeddings_lose_vectors() -> None:
    body = {"model": "any", "input": ["a", "b", "c", "d"]}
    for settings, left in ((Simulated(truncated_percent=100), 2), (Simulated(empty_percent=100), 0)):
        response = await SimulatedModel(settings).respond("/embeddings", body)
        assert len(response.body["data"]) == left


async def test_the_same_seed_gives_the_same_run() -> None:
    settings = Simulated(seed=3, error_percent=30, garbage_percent=30)

    async def run(settings: Simulated) -> list[Any]:
        model = SimulatedModel(settings)
        return [
            (r.status, r.status == 200 and content(r))
            for r in [await respond(model, chat(structured=True)) for _ in range(30)]
        ]

    assert await run(settings) == await run(settings)
    assert await run(settings) != await run(Simulated(seed=4, error_percent=30, garbage_percent=30))


async def test_stats_count_what_was_served() -> None:
    model = SimulatedModel(Simulated())
    await respond(model)
    await respond(model, {})
    stats = model.stats.snapshot()
    assert stats["byStatus"] == {"200": 1, "400": 1}
    assert stats["requests"] == 2
    assert stats["promptTokens"] > 0
    assert stats["completionTokens"] > 0
    assert stats["spanSeconds"] >= 0
    model.stats.reset()
    assert model.stats.snapshot()["requests"] == 0
    assert model.stats.snapshot()["firstRequestSeconds"] is None
