"""A batch file's line on its way to the endpoint."""

import msgspec
import pytest

from fanout.api.branch import PassthroughModel
from fanout.api.endpoint import ModelEndpointSpec
from fanout.planning.assemble.passthrough import AssemblePassthrough, path_below

ENDPOINT = ModelEndpointSpec(url="http://127.0.0.1/v1", model="small-1")
LINE = msgspec.json.encode({"url": "/v1/chat/completions", "body": {"model": "theirs", "messages": [], "seed": 7}})


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("/v1/chat/completions", "/chat/completions"),
        ("/chat/completions", "/chat/completions"),
        ("/v1/v1/embeddings", "/v1/embeddings"),
        ("https://elsewhere.example/v1/embeddings?key=x#y", "/embeddings"),
        ("/v1beta/openai/chat/completions", "/v1beta/openai/chat/completions"),
        ("/v1", "/"),
        ("/v1/", "/"),
        ("", "/"),
    ],
)
def test_the_path_below_a_base_url_that_ends_in_v1(url, path):
    assert path_below(url) == path


def test_the_endpoints_model_takes_the_place_of_the_lines_and_nothing_else_changes():
    assembled = AssemblePassthrough()([LINE], ENDPOINT, None)
    assert assembled.path == "/chat/completions"
    assert msgspec.json.decode(assembled.body) == {"model": "small-1", "messages": [], "seed": 7}
    assert (assembled.expect.kind, assembled.expect.tasks) == ("passthrough", 1)


def test_the_lines_own_model_stays_where_that_is_asked_for():
    assembled = AssemblePassthrough(PassthroughModel.KEEP)([LINE], ENDPOINT, None)
    assert msgspec.json.decode(assembled.body)["model"] == "theirs"


def test_an_endpoint_without_a_model_leaves_the_lines():
    endpoint = ModelEndpointSpec(api="Simulated")
    assert msgspec.json.decode(AssemblePassthrough()([LINE], endpoint, None).body)["model"] == "theirs"
