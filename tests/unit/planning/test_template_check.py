"""Templates are checked by reading alone."""

import pytest

from fanout.planning.sandbox.template import check_template, roots_of

MAP = roots_of("map", ["tone", "language"])


@pytest.mark.parametrize(
    "source",
    [
        "{{ chunk.text }} {{ chunk.index + 1 }}/{{ chunk.count }} {{ chunk.title }}",
        "{{ item.id }} {{ item.fields.anything }} {{ item.fields['with space'] }} {{ branch.name }} {{ params.tone }}",
        "{% for k, v in item.fields|items %}{{ loop.index }} {{ k }}={{ v }}{% else %}none{% endfor %}",
        "{% set x = 1 %}{% if x is odd %}{{ x }}{% endif %}{% raw %}{{ no }}{% endraw %}{# comment #}",
        "{% for chunk in [1] %}{{ chunk.anything }}{% endfor %}",
        "{% set ns = namespace(n=0) %}{% for i in range(3) %}{% set ns.n = i %}{% endfor %}{{ ns.n }}",
        "no template at all { } % #",
    ],
)
def test_good_templates(source: str) -> None:
    assert check_template(source, MAP) == []


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        (
            "{{ chnk.text }}",
            'line 1: unknown variable "chnk": did you mean "chunk"? (known here: branch, chunk, item, params)',
        ),
        ("\n{{ chunk.txt }}", 'line 2: unknown variable "chunk.txt": did you mean "chunk.text"?'),
        ("{{ chunk['txt'] }}", 'unknown variable "chunk.txt"'),
        ("{{ params.tne }}", 'did you mean "params.tone"? (known here: params.language, params.tone)'),
        ("{{ branch.endpoint }}", 'unknown variable "branch.endpoint"'),
        ("{{ item.text }}", 'unknown variable "item.text"'),
        ("{{ answers }}", 'unknown variable "answers"'),
        ("a\n{{ x", "line 2: unexpected end of template"),
        ("{% if %}{% endif %}", "line 1: "),
        ("{{ chunk.text|uper }}", 'line 1: unknown filter "uper": did you mean "upper"?'),
        ("{{ chunk.text|random }}", 'unknown filter "random"'),
        ("{{ chunk.text is evne }}", 'unknown test "evne": did you mean "even"?'),
        ("{{ " + "(" * 5000, "nested too deeply"),
    ],
)
def test_faults(source: str, fault: str) -> None:
    faults = check_template(source, MAP)
    assert len(faults) == 1
    assert fault in faults[0]


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("{% macro m() %}{% endmacro %}", "macro"),
        ("{% include 'x' %}", "include"),
        ("{% import 'x' as x %}", "import"),
        ("{% from 'x' import y %}", "from … import"),
        ("{% extends 'x' %}", "extends"),
        ("{% block b %}{% endblock %}", "block"),
        ("{% set x %}a{% endset %}", "set … endset"),
        ("{% filter upper %}a{% endfilter %}", "filter"),
    ],
)
def test_forbidden_constructs(source: str, name: str) -> None:
    assert check_template(source, MAP) == [f"line 1: {{% {name} %}} is not for prompts: write its content in place"]


def test_every_fault_is_named_once() -> None:
    assert len(check_template("{{ a }}{{ b }}{{ a }}{{ chunk.c }}{{ chunk.c }}", MAP)) == 3


def test_without_params() -> None:
    assert check_template("{{ params.x }}", roots_of("map")) == ['line 1: unknown variable "params.x"; params has none']


@pytest.mark.parametrize(
    ("place", "good", "bad"),
    [
        ("system", "{{ branch.name }}{{ params.a }}", "{{ chunk.text }}"),
        ("concat", "{{ value.x }}{{ chunk.title }}{{ item.fields.x }}", "{{ chunk.text }}"),
        ("synthesize", "{{ parts | join('-') }}{{ level }}{{ params.a }}", "{{ chunk }}"),
        ("synthesizeSystem", "{{ params }}", "{{ level }}"),
    ],
)
def test_each_place_knows_its_own_names(place: str, good: str, bad: str) -> None:
    assert check_template(good, roots_of(place, ["a"])) == []
    assert len(check_template(bad, roots_of(place, ["a"]))) == 1


def test_nothing_is_evaluated() -> None:
    """Jinja would work out constants while it compiles, and so take 10 GB here."""
    assert check_template("{{ ('a' * 10000)|replace('a', 'b' * 1000000) }}{{ 'a'|center(10000000000) }}", MAP) == []
