"""The body of an embeddings call."""

import msgspec

from fanout.api.endpoint import ModelEndpointSpec
from fanout.planning.assemble.embed import AssembleEmbed

ENDPOINT = ModelEndpointSpec(url="http://127.0.0.1/v1", model="vectors-1")


def test_all_inputs_go_as_one_list():
    assembled = AssembleEmbed()([b'"first"', '"zweiter \u00fc"'.encode()], ENDPOINT, None)
    assert assembled.path == "/embeddings"
    assert msgspec.json.decode(assembled.body) == {"model": "vectors-1", "input": ["first", "zweiter \u00fc"]}
    assert (assembled.expect.kind, assembled.expect.tasks) == ("embed", 2)


def test_the_length_of_the_vectors_is_asked_for_where_it_is_set():
    body = msgspec.json.decode(AssembleEmbed(256)([b'"a"'], ENDPOINT, None).body)
    assert body["dimensions"] == 256
    assert body["input"] == ["a"]
