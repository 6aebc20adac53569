"""Credentials: read anew each time, and unusable ones named without being shown."""

import pytest

from fanout.api.meta import SecretKeyRef
from fanout_worker.clients.base import CredentialMissingError
from fanout_worker.clients.credential import environment_credential, read_credential, variable_name

REF = SecretKeyRef(name="my-models.eu", key="api-key")


def test_variable_name():
    assert variable_name(REF) == "MY_MODELS_EU_API_KEY"
    assert variable_name(SecretKeyRef(name="openai", key="api-key")) == "OPENAI_API_KEY"


def test_environment_is_read_each_time(monkeypatch):
    credential = environment_credential(REF)
    monkeypatch.delenv("MY_MODELS_EU_API_KEY", raising=False)
    with pytest.raises(CredentialMissingError, match="MY_MODELS_EU_API_KEY"):
        credential()
    for value in ("one", "two\n"):
        monkeypatch.setenv("MY_MODELS_EU_API_KEY", value)
        assert read_credential(credential) == value.strip()


@pytest.mark.parametrize("value", ["", " \n", "se\ncret", "se\rcret", "secrét", "se\0cret"])
def test_unusable_credential_is_not_shown(value):
    with pytest.raises(CredentialMissingError, match=r"auth\.secretRef") as caught:
        read_credential(lambda: value)
    assert "cret" not in str(caught.value).replace("secretRef", "")
