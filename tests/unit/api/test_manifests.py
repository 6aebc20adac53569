"""Loading manifests: what is sound is loaded with where it stands, and each fault says where, what and what to do."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import pytest

from fanout.api.documents import MAX_DEPTH
from fanout.api.endpoint import ModelEndpoint
from fanout.api.job import FanOutJob
from fanout.api.manifest import MAX_BYTES, Manifests, load
from fanout.api.schema import structural
from fanout.api.wording import PATTERNS

JOB = """\
apiVersion: fanout.dev/v1alpha1
kind: FanOutJob
metadata: {name: tickets}
spec:
  input: {items: [a]}
  map:
    branches:
    - name: label
      endpoints: [small]
      chat:
        prompt: "{{ chunk.text }}"
"""
ENDPOINT = """\
apiVersion: fanout.dev/v1alpha1
kind: ModelEndpoint
metadata: {name: small}
spec: {api: Simulated}
"""
SECRET = """\
apiVersion: v1
kind: Secret
metadata: {name: keys}
data: {old: b2xk, both: b2xk}
stringData: {new: "plain", both: plain}
"""
PROMPT = '        prompt: "{{ chunk.text }}"\n'


def loaded(tmp_path: Path, text: str, name: str = "job.yaml") -> Manifests:
    path = tmp_path / name
    path.write_text(text)
    return load([path])


def told(found: Manifests) -> list[tuple[int | None, str, str]]:
    return [(fault.line, fault.path, fault.message) for fault in found.faults]


def job_with(old: str, new: str) -> str:
    assert JOB.count(old) == 1
    return JOB.replace(old, new)


def test_a_file_of_several_documents(tmp_path: Path) -> None:
    found = loaded(tmp_path, "---\n".join((JOB, ENDPOINT, SECRET, "# nothing here\n")))
    assert found.faults == []
    assert [(j.job.name, j.source.base) for j in found.jobs] == [("tickets", tmp_path)]
    assert [e.endpoint.name for e in found.endpoints] == ["small"]
    assert [(s.name, dict(s.data)) for s in found.secrets] == [
        ("keys", {"old": "old", "both": "plain", "new": "plain"})
    ]
    assert found.jobs[0].source.line("spec.map.branches[0].chat.prompt") == 11
    assert found.jobs[0].source.line("spec.map.branches[0].chat.parameters.n") == 10
    assert found.endpoints[0].source.line("spec.limits") == 16


def test_a_secret_does_not_show_its_values(tmp_path: Path) -> None:
    assert "plain" not in repr(loaded(tmp_path, SECRET))


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    class Stdin:
        buffer = io.BytesIO(JOB.replace("chat:", "chatt:").encode())

    monkeypatch.setattr("sys.stdin", Stdin)
    (fault,) = load([Path("-")]).faults
    assert str(fault) == "stdin:10: spec.map.branches[0].chatt: is not a field: did you mean chat?"


@pytest.mark.parametrize("name", ["job.json", "job.yaml"])
def test_json_is_read_with_all_its_escapes(tmp_path: Path, name: str) -> None:
    spec = {
        "input": {"items": ["\U0001f600 / "]},
        "map": {"branches": [{"name": "a", "endpoints": ["e"], "chat": {"prompt": "p"}}]},
    }
    body = {"apiVersion": "fanout.dev/v1alpha1", "kind": "FanOutJob", "metadata": {"name": "j"}, "spec": spec}
    found = loaded(tmp_path, json.dumps(body, indent="\t").replace("/ ", "\\/ "), name)
    assert told(found) == []
    assert found.jobs[0].job.spec.input.items == ["\U0001f600 / "]


def test_what_kubectl_prints_can_be_run(tmp_path: Path) -> None:
    text = job_with(
        "{name: tickets}",
        "{name: tickets, uid: 8a, generation: 2, creationTimestamp: 2026-01-01T00:00:00Z, resourceVersion: '1'}",
    )
    found = loaded(tmp_path, text + "status: {state: Running}\n")
    assert told(found) == []
    assert found.jobs[0].job.metadata.generation == 2


BRANCH = "spec.map.branches[0]"
BAD: list[tuple[str, str, str, int, str, str]] = [
    # what is replaced, by what, and the line, the path and the sentence that come of it
    ("chat:", "chatt: {}\n      chat:", "unknown", 10, f"{BRANCH}.chatt", "is not a field: did you mean chat?"),
    ("chat:", "max_retries: 1\n      chat:", "no idea", 10, f"{BRANCH}.max_retries",
     "is not a field: there are batch, chat, embed, endpoints, name, passthrough, retry, samples, timeoutSeconds"),
    ("  map:", "  map:\n    Parallelism: 3", "case", 7, "spec.map.Parallelism", "is not a field: did you mean parallelism?"),
    ("chat:", "batch: {max_items: 2}\n      chat:", "snake", 10, f"{BRANCH}.batch.max_items",
     "is not a field: did you mean maxItems?"),
    ("chat:", "parameters: {}\n      chat:", "deeper", 10, f"{BRANCH}.parameters",
     "is not a field here: it belongs into chat"),
    (PROMPT, PROMPT + "        samples: 3\n", "shallower", 12, f"{BRANCH}.chat.samples",
     f"is not a field here: it belongs into {BRANCH} (check the indentation)"),
    ("[small]", "small", "no list", 9, f"{BRANCH}.endpoints",
     "must be a list, not a text: write [a, b], or - before each entry"),
    ("[small]", "[]", "empty", 9, f"{BRANCH}.endpoints", "must not be empty"),
    ("[small]", "[Small]", "label", 9, f"{BRANCH}.endpoints[0]",
     "must be lower-case letters, digits and hyphens, such as my-name"),
    ('"{{ chunk.text }}"', "5", "no text", 11, f"{BRANCH}.chat.prompt", "must be a text, not a number: quote it"),
    ('"{{ chunk.text }}"', "{a: b}", "mapping", 11, f"{BRANCH}.chat.prompt", "must be a text, not a mapping"),
    ('"{{ chunk.text }}"', "{{ chunk.text }}", "template", 11, f"{BRANCH}.chat.prompt",
     'quote the template: "{{ … }}"; without quotes, braces are a mapping to YAML'),
    ("chat:", "samples: 0\n      chat:", "bounds", 10, f"{BRANCH}.samples", "must be from 1 to 100"),
    ("chat:", "samples: '3'\n      chat:", "quoted", 10, f"{BRANCH}.samples",
     "must be a whole number, not a text: write it without quotes"),
    ("chat:", "samples: true\n      chat:", "bool", 10, f"{BRANCH}.samples", "must be a whole number, not true or false"),
    ("chat:", "samples: 1.5\n      chat:", "fraction", 10, f"{BRANCH}.samples", "must be a whole number, not a fraction"),
    ("  map:", "  split: {by: paragraf}\n  map:", "enum", 6, "spec.split.by",
     "'paragraf' is not known here: did you mean Paragraph? It must be Item, Paragraph, Pattern or Tokens"),
    ("  map:", "  split: {by: Item, maxTokens: }\n  map:", "null is absent", 0, "", ""),
    ("  map:", "  completion:\n  map:", "no value", 6, "spec.completion",
     "has no value: give a mapping of fields, or leave it out"),
    ("  map:", "  completion: 3\n  map:", "no mapping", 6, "spec.completion",
     "must be a mapping, not a number minSuccessPercent, onShortfall, partialAfter, deadlineSeconds, abort"),
    ("  map:", "  split: {by: Pattern}\n  map:", "rule", 6, "spec.split.pattern",
     "pattern goes with by: Pattern, and by: Pattern needs one"),
    ("  map:", "  params: {a-b: 1}\n  map:", "key", 6, "spec.params.a-b",
     "this name must be a name of letters, digits and underscores"),
    ("  map:", "  params: {a: .inf}\n  map:", "infinite", 6, "spec.params.a",
     "is not a number that JSON has: quote it if it is a text"),
    ("  map:", "  params: {a: 1, a: 2}\n  map:", "twice", 6, "spec.params.a", "is given twice, first in line 6: keep one"),
    ("  map:", "  params: {a: *x}\n  map:", "alias", 6, "spec.params.a",
     "*x refers to no anchor before it: quote a text that begins with *"),
    ("  map:", "  params: {a: !env HOME}\n  map:", "tag", 6, "spec.params.a", "a manifest has no tags: leave !env out"),
    ("  map:", "  params: {[a]: 1}\n  map:", "list as key", 6, "spec.params",
     "a key is a text, not a list, a mapping or an alias"),
    ("{items: [a]}", "{uri: 'ftp://x/y.csv'}", "uri", 5, "spec.input.uri",
     "must begin with https:// or file:// and have no spaces"),
    ("{name: tickets}", "{}", "name", 3, "metadata.name",
     "is missing: At most 63 characters, because it becomes a label's value."),
    ("metadata: {name: tickets}\n", "", "metadata", 1, "metadata.name",
     "is missing: At most 63 characters, because it becomes a label's value."),
    ("FanOutJob", "FanoutJob", "kind", 2, "kind", "FanoutJob is not a kind that Fanout reads: did you mean FanOutJob?"),
    ("FanOutJob", "Deployment", "other kind", 2, "kind",
     "Deployment is not a kind that Fanout reads: there are FanOutJob, ModelEndpoint and Secret"),
    ("kind: FanOutJob\n", "", "no kind", 1, "kind", "is missing: FanOutJob, ModelEndpoint or Secret"),
    ("v1alpha1", "v1", "version", 1, "apiVersion", "fanout.dev/v1 is not known: write fanout.dev/v1alpha1"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new", "line", "path", "message"), [pytest.param(*b[:2], *b[3:], id=b[2]) for b in BAD]
)
def test_a_bad_manifest_is_told_where_what_and_what_to_do(
    tmp_path: Path, old: str, new: str, line: int, path: str, message: str
) -> None:
    found = loaded(tmp_path, job_with(old, new))
    assert told(found) == ([(line, path, message)] if message else [])
    assert bool(found.jobs) == (not message)


@pytest.mark.parametrize(
    ("text", "line", "hint"),
    [
        ("a: 1\nb:\n\t- x\n", 3, "Indent with spaces"),
        ("a: {{ x }} and more\n", 1, "Quote the template"),
        ("a: Label: {{ x }}\n", 1, "Quote the template"),
        ("a: Label: this\n", 1, 'Quote a text that holds ": "'),
        ('a: "^Article \\d+"\n', 1, "use single quotes"),
        ("a: @x\n", 1, "Quote a text that begins with"),
        ("a: [1, 2\nb: 3\n", 2, "A bracket or brace is not closed"),
        ("a: 'open\nb: 3\n", 3, "A quote"),
        ("a:\n  b: 1\n c: 2\n", 3, "Check the indentation"),
        ("a: \x01\n", 1, "control character"),
    ],
)
def test_what_is_not_yaml_gets_its_line_and_a_hint(tmp_path: Path, text: str, line: int, hint: str) -> None:
    found = loaded(tmp_path, text)
    ((where, path, message),) = told(found)
    assert (where, path) == (line, "")
    assert "this is not YAML: " in message
    assert hint in message


def test_documents_before_a_syntax_error_are_checked(tmp_path: Path) -> None:
    found = loaded(tmp_path, job_with("[small]", "small") + "---\na: b: c\n")
    assert [(line, path) for line, path, _ in told(found)] == [(9, "spec.map.branches[0].endpoints"), (13, "")]


def test_all_faults_of_all_files_are_told(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(job_with("[small]", "small") + "---\n[1]\n---\nkind: ModelEndpoint\n")
    (tmp_path / "b.yaml").write_text(ENDPOINT.replace("Simulated", "Simulatd"))
    found = load([tmp_path / "a.yaml", tmp_path / "b.yaml", tmp_path / "c.yaml"])
    assert sorted((Path(f.file).name, f.path) for f in found.faults) == [
        ("a.yaml", ""),
        ("a.yaml", "apiVersion"),
        ("a.yaml", "spec.map.branches[0].endpoints"),
        ("b.yaml", "spec.api"),
        ("c.yaml", ""),
    ]


def test_rules_are_told_beside_wrong_fields(tmp_path: Path) -> None:
    text = job_with("  map:", "  split: {by: Tokens}\n  map:\n    order: Random")
    assert [path for _, path, _ in told(loaded(tmp_path, text))] == ["spec.split.maxTokens", "spec.map.order"]


def test_two_resources_of_one_name(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(JOB)
    (tmp_path / "b.yaml").write_text(ENDPOINT.replace("small", "tickets") + "---\n" + JOB)
    found = load([tmp_path / "a.yaml", tmp_path / "b.yaml"])
    assert told(found) == [
        (8, "metadata.name", f"there is a FanOutJob tickets already, at {tmp_path / 'a.yaml'}:3: rename one")
    ]
    assert len(found.jobs) == len(found.endpoints) == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "holds no manifest"),
        (b"# only a comment\n---\n", "holds no manifest"),
        (b"\xff\xfea", "is not UTF-8 text (byte 0): save it as UTF-8"),
        (b"#" * (MAX_BYTES + 1), "is larger than 4 MiB: put the data into a file of its own and name it in input.uri"),
    ],
)
def test_a_file_that_is_no_manifest(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "x.yaml").write_bytes(content)
    assert [f.message for f in load([tmp_path / "x.yaml"]).faults] == [message]


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert [f.message for f in load([tmp_path / "x.yaml", tmp_path]).faults] == [
        "cannot be read: no such file or directory",
        "cannot be read: is a directory",
    ]


@pytest.mark.parametrize("opening", ["[", "{a: ", "- ", "{", "? "])
def test_depth_is_bounded(tmp_path: Path, opening: str) -> None:
    found = loaded(tmp_path, opening * 100_000)
    assert any(f"more than {MAX_DEPTH} levels" in m or "not YAML" in m for _, _, m in told(found))


def test_aliases_do_not_multiply(tmp_path: Path) -> None:
    layers = ["a0: &a0 [x,x,x,x,x,x,x,x,x,x]"]
    layers += [f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    ((line, _, message),) = told(loaded(tmp_path, "\n".join(layers)))
    assert (line, message[:17]) == (6, "more than 200,000")


def test_aliases_and_merges_work(tmp_path: Path) -> None:
    text = job_with("  map:", "  params: {base: &base {x: 1, y: 1}, own: {<<: *base, y: 2}, same: *base}\n  map:")
    found = loaded(tmp_path, text)
    assert told(found) == []
    base = {"x": 1, "y": 1}
    assert found.jobs[0].job.spec.params == {"base": base, "own": {"x": 1, "y": 2}, "same": base}


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("2026-01-01", "2026-01-01"), ("12:30:45", "12:30:45"), ("1_000", 1000), ("0x1F", 31), ("0755", 493),
        ("yes", True), ("off", False), ("~", None), ("1e3", 1000.0), ("-.5", -0.5), ("'5'", "5"), ("1.2.3", "1.2.3"),
        ("089", 89.0), ("-", None),
    ],
)  # fmt: skip
def test_words_mean_what_they_mean_to_kubectl(tmp_path: Path, word: str, value: Any) -> None:
    found = loaded(tmp_path, job_with("  map:", f"  params:\n    a: {word}\n  map:"))
    if word == "-":
        assert found.faults
    else:
        assert found.jobs[0].job.spec.params == {"a": value}


def test_a_secret_that_cannot_be_decoded_is_told_without_its_value(tmp_path: Path) -> None:
    found = loaded(tmp_path, SECRET.replace("b2xk,", "sk-123!,").replace('"plain"', "17"))
    assert told(found) == [
        (4, "data.old", "is not base64 of a text: put the plain text into stringData instead"),
        (5, "stringData.new", "must be a text: quote it"),
    ]
    assert not any("sk-123" in str(fault) for fault in found.faults)


def test_every_pattern_has_words() -> None:
    text = json.dumps([structural(FanOutJob), structural(ModelEndpoint)])
    used = {json.loads(f'"{found}"') for found in re.findall(r'"pattern": "((?:[^"\\]|\\.)*)"', text)}
    assert used
    assert used <= PATTERNS.keys()
