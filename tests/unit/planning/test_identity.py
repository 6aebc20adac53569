"""Ids, texts and fields of records."""

from typing import Any

import pytest

from fanout.planning.frames import Problem
from fanout.planning.sandbox.read.identity import Identified, identify
from fanout.planning.sandbox.read.record import Record


def known(value: Any, text_field: str = "text", id_field: str | None = None) -> Identified | Problem:
    return identify(Record("data line 3", b"", value), 17, text_field=text_field, id_field=id_field)


def test_without_an_id_field_the_position_is_the_id() -> None:
    assert known({"text": "t", "id": "x"}) == Identified("17", "t", {"id": "x"})


def test_a_plain_text_has_its_position_even_with_an_id_field() -> None:
    assert known("t", id_field="id") == Identified("17", "t", {})


@pytest.mark.parametrize(("value", "id_"), [("a", "a"), (5, "5"), (2**70, str(2**70))])
def test_strings_and_whole_numbers_are_ids(value: object, id_: str) -> None:
    assert known({"text": "t", "id": value}, id_field="id") == Identified(id_, "t", {"id": value})


@pytest.mark.parametrize(
    "value", [1.0, True, None, [], {}, "", "x" * 1025, "a\x00", "position:3", pytest.param(10**5000, id="huge")]
)
def test_what_is_no_id(value: object) -> None:
    problem = known({"text": "t", "id": value}, id_field="id")
    assert isinstance(problem, Problem)
    assert problem.reason == "InvalidRecord"
    assert problem.message.startswith("data line 3: ")


def test_a_missing_id_names_the_fields_there_are() -> None:
    problem = known({"text": "t", "key": 1}, id_field="id")
    assert isinstance(problem, Problem)
    assert problem.message == 'data line 3: no field "id" (input.idField); its fields: text, key'


def test_nested_fields() -> None:
    value = {"meta": {"id": 5, "text": "t"}, "list": [{"x": 1}]}
    assert known(value, "meta.text", "meta.id") == Identified("5", "t", {"meta": {"id": 5}, "list": [{"x": 1}]})
    assert known(value, "list.0.x") == Identified("17", "1", value)
    assert known({"meta.id": "whole", "meta": {"id": "nested"}, "text": ""}, id_field="meta.id").id == "whole"


@pytest.mark.parametrize("value", [{"a": 1, "b": "x"}, {"a": 1, "b": "x", "text": None}])
def test_without_a_text_the_other_fields_are_shown(value: dict[str, object]) -> None:
    assert known(value) == Identified("17", '{"a":1,"b":"x"}', {"a": 1, "b": "x"})


@pytest.mark.parametrize(("text", "shown"), [(5, "5"), ({"a": [1]}, '{"a":[1]}'), (False, "false"), ("", "")])
def test_a_text_that_is_no_string_is_its_json(text: object, shown: str) -> None:
    assert known({"text": text}) == Identified("17", shown, {})
