"""The client that an endpoint's spec asks for, and the simulated one."""

import msgspec
import pytest

from fanout.api.endpoint import Auth, ModelEndpointSpec
from fanout.api.meta import SecretKeyRef
from fanout.api.simulated import Simulated
from fanout_worker.clients.base import CallTimeoutError, RequestRefusedError
from fanout_worker.clients.build import build_client
from fanout_worker.clients.openai import OpenAIClient
from fanout_worker.clients.simulated import SimulatedClient

CHAT = msgspec.json.encode({"model": "m", "messages": [{"role": "user", "content": "hello"}]})
AUTH = Auth(secret_ref=SecretKeyRef(name="a", key="b"))


async def test_openai():
    client = build_client(ModelEndpointSpec(url="http://127.0.0.1:1/v1", model="m", auth=AUTH), lambda: "key")
    assert isinstance(client, OpenAIClient)
    await client.close()


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (ModelEndpointSpec(url="http://127.0.0.1:1/v1", model="m", auth=AUTH), "credential"),
        (ModelEndpointSpec(model="m"), "needs url"),
    ],
)
async def test_spec_that_cannot_work(spec, words):
    with pytest.raises(ValueError, match=words):
        build_client(spec)


async def test_header_with_a_line_break():
    with pytest.raises(ValueError, match="X-A"):
        OpenAIClient("http://127.0.0.1:1/v1", headers={"X-A": "a\r\nX-B: b"})


async def test_url_with_a_password_and_auth():
    spec = ModelEndpointSpec(url="http://me:hush@127.0.0.1:1/v1", model="m", auth=AUTH)
    with pytest.raises(ValueError, match="keep one") as caught:
        build_client(spec, lambda: "key")
    assert "hush" not in str(caught.value)


async def test_simulated_answers():
    client = build_client(ModelEndpointSpec(api="Simulated"))
    assert isinstance(client, SimulatedClient)
    response = await client.send("/chat/completions", CHAT, 5)
    assert response.status == 200
    assert msgspec.json.decode(response.body)["choices"][0]["message"]["content"]
    assert all(name == name.lower() for name in response.headers)
    missing = await client.send("/nowhere", b"{}", 5)
    assert missing.status == 404
    with pytest.raises(RequestRefusedError):
        await client.send("/chat/completions", b"[]", 5)
    await client.close()


async def test_simulated_needs_no_model():
    client = SimulatedClient(Simulated())
    nameless = msgspec.json.encode({"model": None, "messages": [{"role": "user", "content": "hello"}]})
    assert (await client.send("/chat/completions", nameless, 5)).status == 200


@pytest.mark.looptime
async def test_simulated_hangs_until_the_timeout():
    client = SimulatedClient(Simulated(hang_percent=100))
    with pytest.raises(CallTimeoutError, match="60 s"):
        await client.send("/chat/completions", CHAT, 60)
