"""Credentials: read for each call, so that a rotated one is used at once, and never kept in a message or log."""

from __future__ import annotations

import os
import re
from collections.abc import Callable

from fanout.api.meta import SecretKeyRef
from fanout_worker.clients.base import CredentialMissingError

Credential = Callable[[], str]
"""Returns the credential as it is now; raises CredentialMissingError where there is none."""

# Anything else would end the header or is refused by the HTTP library with a message that quotes it.
_HEADER_SAFE = re.compile(r"[\x21-\x7e]+(?: [\x21-\x7e]+)*")


def variable_name(ref: SecretKeyRef) -> str:
    """The environment variable that stands in for a Secret's key: openai and api-key give OPENAI_API_KEY."""
    return re.sub(r"[^A-Z0-9]", "_", f"{ref.name}_{ref.key}".upper())


def environment_credential(ref: SecretKeyRef) -> Credential:
    """The credential from the environment variable that stands in for `ref`."""
    name = variable_name(ref)

    def read() -> str:
        value = os.environ.get(name, "")
        if not value.strip():
            raise CredentialMissingError(
                f"no credential: set the environment variable {name}, or give a Secret {ref.name} "
                f"with the key {ref.key} (auth.secretRef names them)"
            )
        return value

    return read


def read_credential(credential: Credential) -> str:
    """The credential without surrounding white space (files end in a newline).

    Raises CredentialMissingError where there is none, or none that a header can carry.
    """
    value = credential().strip()
    if not value:
        raise CredentialMissingError("no credential: the value that auth.secretRef names is empty; set it")
    if not _HEADER_SAFE.fullmatch(value):
        raise CredentialMissingError(
            "the credential holds characters that a header cannot carry (a line break in the middle, or not ASCII): "
            "check the value that auth.secretRef names"
        )
    return value
