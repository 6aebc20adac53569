"""Manifests from files: every resource in them, and every fault of all of them at once, with file, line and path."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fanout.api.base import API_VERSION, Fault
from fanout.api.checking import read
from fanout.api.documents import Document, parse
from fanout.api.endpoint import ModelEndpoint
from fanout.api.job import FanOutJob
from fanout.api.overrides import Override, OverrideError, apply, understood
from fanout.api.secret import Secret, read_secret
from fanout.api.source import ManifestFault, Source
from fanout.api.spelling import closest

MAX_BYTES = 4 * 1024 * 1024  # a few hundred prompts; data belongs into files of its own
STDIN = Path("-")
KINDS = ("FanOutJob", "ModelEndpoint")


@dataclass(frozen=True)
class LoadedJob:
    """A job and where it stands; `source.base` is what its file:// is relative to."""

    job: FanOutJob
    source: Source


@dataclass(frozen=True)
class LoadedEndpoint:
    """An endpoint and where it stands."""

    endpoint: ModelEndpoint
    source: Source


@dataclass
class Manifests:
    """What a set of files holds. Resources with faults are not among the others."""

    jobs: list[LoadedJob] = field(default_factory=list)
    endpoints: list[LoadedEndpoint] = field(default_factory=list)
    secrets: list[Secret] = field(default_factory=list)
    faults: list[ManifestFault] = field(default_factory=list)


def load(paths: Sequence[Path], overrides: Iterable[str] = ()) -> Manifests:
    """Reads all `paths` ("-" is standard input) and applies the `overrides` (see fanout.api.overrides).

    Never raises for what is in the files: it is in `faults`.
    """
    result = Manifests()
    entries: list[_Entry] = []
    for path in paths:
        found, faults = _read_file(path)
        entries += found
        result.faults += faults
    result.faults += _override(entries, overrides)
    seen: dict[tuple[str, str, str], Source] = {}
    for entry in entries:
        result.faults += entry.add_to(result, seen)
    # File by file and from top to bottom, as one mends them; what came from --set first.
    order = {_name(path): i for i, path in enumerate(paths, start=1)}
    result.faults.sort(key=lambda fault: (order.get(fault.file, 0), fault.line or 0))
    return result


@dataclass
class _Entry:
    """One document of a file, before it is known to be a resource."""

    value: Any
    source: Source
    faults: list[ManifestFault]

    @property
    def kind(self) -> Any:
        return self.value.get("kind") if isinstance(self.value, dict) else None

    @property
    def name(self) -> Any:
        metadata = self.value.get("metadata") if isinstance(self.value, dict) else None
        return metadata.get("name") if isinstance(metadata, dict) else None

    def add_to(self, result: Manifests, seen: dict[tuple[str, str, str], Source]) -> list[ManifestFault]:
        wrong = self._envelope()
        if wrong is not None:
            return [*self.faults, self.source.fault(wrong.path, wrong.message)]
        resource, faults = self._resource()
        if resource is not None:
            faults += self._twice(seen, resource)
        # The text's own faults come first, and a field that has one needs no second.
        unsound = {fault.path for fault in self.faults}
        faults = [fault for fault in faults if fault.path not in unsound]
        found = [*self.faults, *(self.source.fault(fault.path, fault.message) for fault in faults)]
        if resource is not None and not found:
            self._keep(result, resource)
        return found

    def _envelope(self) -> Fault | None:
        """What is wrong with apiVersion and kind, which decide how the rest is read."""
        if not isinstance(self.value, dict):
            return Fault("", "a manifest is a mapping of apiVersion, kind, metadata and spec")
        kind, version = self.kind, self.value.get("apiVersion")
        if kind is None:
            return Fault("kind", f"is missing: {', '.join(KINDS)} or Secret")
        if kind not in (*KINDS, "Secret"):
            close = closest(str(kind), [*KINDS, "Secret"])
            meant = f"did you mean {close}?" if close else f"there are {', '.join(KINDS)} and Secret"
            return Fault("kind", f"{str(kind)[:63]} is not a kind that Fanout reads: {meant}")
        wanted = "v1" if kind == "Secret" else API_VERSION
        if version != wanted:
            given = "is missing" if version is None else f"{str(version)[:63]} is not known"
            return Fault("apiVersion", f"{given}: write {wanted}")
        return None

    def _resource(self) -> tuple[FanOutJob | ModelEndpoint | Secret | None, list[Fault]]:
        if self.kind == "Secret":
            return read_secret(self.value)
        # What kubectl get -o yaml prints has a status; a name is asked for even where all of metadata is missing.
        body = {"metadata": {}, **{k: v for k, v in self.value.items() if k != "status"}}
        return read(FanOutJob, body) if self.kind == "FanOutJob" else read(ModelEndpoint, body)

    def _twice(
        self, seen: dict[tuple[str, str, str], Source], resource: FanOutJob | ModelEndpoint | Secret
    ) -> list[Fault]:
        namespace = resource.namespace if isinstance(resource, Secret) else resource.metadata.namespace
        first = seen.setdefault((self.kind, namespace, resource.name), self.source)
        if first is self.source:
            return []
        line = first.line("metadata.name")
        place = first.file if line is None else f"{first.file}:{line}"
        return [Fault("metadata.name", f"there is a {self.kind} {resource.name} already, at {place}: rename one")]

    def _keep(self, result: Manifests, resource: FanOutJob | ModelEndpoint | Secret) -> None:
        match resource:
            case FanOutJob():
                result.jobs.append(LoadedJob(resource, self.source))
            case ModelEndpoint():
                result.endpoints.append(LoadedEndpoint(resource, self.source))
            case Secret():
                result.secrets.append(resource)


def _name(path: Path) -> str:
    return "stdin" if path == STDIN else str(path)


def _read_file(path: Path) -> tuple[list[_Entry], list[ManifestFault]]:
    name = _name(path)
    try:
        text = _text(path)
    except OSError as error:
        return [], [ManifestFault(name, None, "", f"cannot be read: {(error.strerror or str(error)).lower()}")]
    except UnicodeDecodeError as error:
        return [], [ManifestFault(name, None, "", f"is not UTF-8 text (byte {error.start}): save it as UTF-8")]
    except ValueError as error:
        return [], [ManifestFault(name, None, "", str(error))]
    documents, remarks = parse(text)
    base = Path() if path == STDIN else path.parent
    entries = [_entry(each, name, base) for each in documents]
    faults = [ManifestFault(name, r.line, r.path, r.message) for r in remarks]
    if not entries and not faults:
        faults = [ManifestFault(name, None, "", "holds no manifest")]
    return entries, faults


def _entry(document: Document, name: str, base: Path) -> _Entry:
    faults = [ManifestFault(name, r.line, r.path, r.message) for r in document.remarks]
    return _Entry(document.value, Source(name, base, document.lines, {}), faults)


def _text(path: Path) -> str:
    if path == STDIN:
        data = sys.stdin.buffer.read(MAX_BYTES + 1)
    else:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        message = f"is larger than {MAX_BYTES >> 20} MiB: put the data into a file of its own and name it in input.uri"
        raise ValueError(message)
    return data.decode("utf-8-sig")


def _override(entries: list[_Entry], texts: Iterable[str]) -> list[ManifestFault]:
    faults = []
    for text in texts:
        try:
            _apply_to(entries, understood(text, KINDS))
        except OverrideError as error:
            faults.append(ManifestFault(f"--set {text}", None, "", str(error)))
    return faults


def _apply_to(entries: list[_Entry], override: Override) -> None:
    meant = [each for each in entries if override.matches(each.kind, each.name)]
    if not meant:
        wanted = f"{override.kind} named {override.name}" if override.name else override.kind
        message = f"there is no {wanted} in these files"
        raise OverrideError(message)
    for entry in meant:
        apply(override, entry.value)
        entry.source = entry.source.after(override.path, override.text)
