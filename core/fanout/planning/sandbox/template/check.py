"""What is wrong with a template, before anything is rendered. Only reads it: nothing in it is run, so it is safe anywhere."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from difflib import get_close_matches

from jinja2 import TemplateSyntaxError, nodes

from fanout.planning.sandbox.template.environment import FORBIDDEN, Environment
from fanout.planning.sandbox.template.roots import Roots


def check_template(source: str, roots: Roots) -> list[str]:
    """Every fault of a template, as sentences with the line; none if it can be rendered."""
    environment = Environment()
    try:
        tree = environment.parse(source)
    except TemplateSyntaxError as error:
        return [f"line {error.lineno}: {error.message}"]
    except RecursionError:
        return ["nested too deeply"]
    faults = [*_forbidden(tree), *_unknown_names(tree, roots, environment), *_unknown_attributes(tree, roots)]
    faults += _unknown(tree, nodes.Filter, "filter", environment.filters)
    faults += _unknown(tree, nodes.Test, "test", environment.tests)
    return list(dict.fromkeys(faults))


def forbidden(source_tree: nodes.Template) -> list[str]:
    """The constructs of a template that prompts may not use."""
    return list(_forbidden(source_tree))


def _forbidden(tree: nodes.Template) -> Iterator[str]:
    for kind, name in FORBIDDEN.items():
        for node in tree.find_all(kind):
            yield f"line {node.lineno}: {{% {name} %}} is not for prompts: write its content in place"


def _unknown_names(tree: nodes.Template, roots: Roots, environment: Environment) -> Iterator[str]:
    # Not jinja2.meta: it generates code, and that evaluates constant expressions, however large.
    known = roots.keys() | environment.globals.keys() | _own_names(tree)
    lines: dict[str, int] = {}
    for node in tree.find_all(nodes.Name):
        if node.name not in known:
            lines.setdefault(node.name, node.lineno)
    for name, line in sorted(lines.items(), key=lambda entry: entry[1]):
        yield f'line {line}: unknown variable "{name}"{_instead(name, roots)}'


def _own_names(tree: nodes.Template) -> set[str]:
    """The names that the template sets itself, wherever that is."""
    own = {node.name for node in tree.find_all(nodes.Name) if node.ctx != "load"}
    return own | {"loop"} if tree.find(nodes.For) else own


def _unknown_attributes(tree: nodes.Template, roots: Roots) -> Iterator[str]:
    own = _own_names(tree)  # a root that is set anew (as a loop's variable) is no root any more
    for node in _accesses(tree):
        if not isinstance(node.node, nodes.Name) or node.node.name in own:
            continue
        root = node.node.name
        attributes = roots.get(root)
        if isinstance(node, nodes.Getattr):
            attribute = node.attr
        elif isinstance(node.arg, nodes.Const) and isinstance(node.arg.value, str):
            attribute = node.arg.value
        else:
            continue
        if attributes is not None and attribute not in attributes:
            instead = _instead(attribute, attributes, f"{root}.") or f"; {root} has none"
            yield f'line {node.lineno}: unknown variable "{root}.{attribute}"{instead}'


def _accesses(tree: nodes.Template) -> Iterator[nodes.Getattr | nodes.Getitem]:
    yield from tree.find_all(nodes.Getattr)
    yield from tree.find_all(nodes.Getitem)


def _unknown(
    tree: nodes.Template, kind: type[nodes.Filter | nodes.Test], word: str, known: Iterable[str]
) -> Iterator[str]:
    known = set(known)
    for node in tree.find_all(kind):
        if node.name not in known:
            close = get_close_matches(node.name, known, n=1)
            yield f'line {node.lineno}: unknown {word} "{node.name}"' + (
                f': did you mean "{close[0]}"?' if close else ""
            )


def _instead(name: str, known: Iterable[str], prefix: str = "") -> str:
    known = sorted(known)
    close = get_close_matches(name, known, n=1)
    meant = f': did you mean "{prefix}{close[0]}"?' if close else ""
    return f"{meant} (known here: {', '.join(prefix + each for each in known)})" if known else ""
