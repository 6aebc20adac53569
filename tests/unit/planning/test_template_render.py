"""Rendering is strict and bounded, and says what is wrong."""

from typing import Any

import pytest

from fanout.planning.frames import Problem
from fanout.planning.sandbox.template.environment import Environment, Fields
from fanout.planning.sandbox.template.render import Prompt, RenderError

ENVIRONMENT = Environment()


def context(**fields: Any) -> dict[str, Any]:
    return {
        "chunk": {"text": "<b>", "index": 0, "count": 1, "title": ""},
        "item": {"id": "i", "name": "", "index": 0, "fields": Fields(fields)},
        "params": {"nested": {"items": 1}},
    }


def render(source: str, max_bytes: int = 10_000, **fields: Any) -> str:
    return Prompt(ENVIRONMENT, source, "prompt", max_bytes).render(context(**fields))


def problem(source: str, max_bytes: int = 10_000, **fields: Any) -> Problem:
    with pytest.raises(RenderError) as error:
        render(source, max_bytes, **fields)
    return error.value.problem


def test_texts_stay_as_they_are() -> None:
    assert render("{{ chunk.text }} & é\n") == "<b> & é\n"


def test_columns_come_before_methods() -> None:
    assert (
        render("{{ item.fields.items }}{{ item.fields.keys }}{{ params.nested.items }}", items="I", keys="K") == "IK1"
    )
    assert render("{% for k, v in item.fields|items %}{{ k }}={{ v }};{% endfor %}", items="I", b=2) == "items=I;b=2;"


def test_a_missing_column_names_those_there_are() -> None:
    found = problem("{{ item.fields.x }}", a=1, b=2)
    assert found.reason == "TemplateFailed"
    assert 'prompt: item has no field "x"; it has: a, b' in found.message
    assert render("{{ item.fields.x | default('-') }}{{ item.fields['y'] is defined }}") == "-False"


def test_what_goes_wrong_is_named() -> None:
    assert problem("{{ 1 / item.fields.zero }}", zero=0).message == "prompt: ZeroDivisionError: division by zero"
    assert "prompt: line 1: " in problem("{{ x ").message
    assert "is not for prompts" in problem("{% macro m() %}{% endmacro %}").message


def test_output_is_bounded_in_bytes() -> None:
    assert len(render("{{ item.fields.a }}", 100, a="x" * 100)) == 100
    assert problem("{{ item.fields.a }}", 100, a="x" * 101).reason == "TooLarge"
    assert problem("{{ item.fields.a }}", 100, a="é" * 51).reason == "TooLarge"
    assert problem("{% for i in range(100000) %}xxxxxxxxxx{% endfor %}").reason == "TooLarge"


@pytest.mark.parametrize(
    "bomb",
    [
        "{{ 'a' * 10 ** 10 }}",
        "{{ [1] * item.fields.n }}",
        "{{ 7 ** item.fields.n }}",
        "{{ item.fields.n ** 1000 }}",
        "{% set ns = namespace(x=7) %}{% for i in range(99) %}{% set ns.x = ns.x * ns.x %}{% endfor %}",
        "{{ 'a'|center(item.fields.n) }}",
        "{{ 'a\nb'|indent(item.fields.n) }}",
        "{{ 'a'|indent(width=item.fields.n) }}",
        "{{ [1]|batch(item.fields.n, 0)|list }}",
        "{{ 'a'.center(item.fields.n) }}",
        "{{ 'a'.ljust(item.fields.n) }}",
        "{{ '%1000000000d' % 1 }}",
        "{{ '%*d' % (item.fields.n, 1) }}",
        "{{ '%1000000000d'|format(1) }}",
        "{{ range(item.fields.n)|list }}",
    ],
)
def test_bombs(bomb: str) -> None:
    assert problem(bomb, n=10**10).reason == "TemplateFailed"


@pytest.mark.parametrize(
    "escape",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ chunk.__class__ }}",
        "{{ item.fields.keys.__self__ }}",
        "{{ (1).real.__class__ }}",
        "{{ cycler.__init__.__globals__ }}",
        "{{ '{0.__class__}'.format(1) }}",
        "{{ item.fields.update({'x': 1}) }}",
    ],
)
def test_no_way_out_of_the_sandbox(escape: str) -> None:
    assert problem(escape).reason == "TemplateFailed"


def test_small_uses_of_what_is_bounded() -> None:
    assert render(
        "{{ '-' * 3 }}{{ 2 ** 10 }}{{ 7 % 4 }}{{ '%s%%' % 5 }}{{ '%.2f'|format(1.5) }}{{ 'a'|center(3) }}"
    ) == ("---102435%1.50 a ")
