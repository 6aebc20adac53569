"""Where a request may go, and how a URL is shown."""

import pytest

from fanout_worker.clients.urls import checked_path, environment_proxy, shown_url


@pytest.mark.parametrize(
    "path", ["/chat/completions", "/embeddings", "/deployments/a/chat?api-version=1", "/a..b", "/%20"]
)
def test_paths_below_the_base(path):
    assert checked_path(path)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "chat",
        "@evil.example/x",
        ".evil.example",
        "/../admin",
        "/a/%2E%2e/b",
        "/a/..%2fb",
        "/a b",
        "/a\r\nX: y",
        "/é",
        "/a#b",
        "/a\\..\\b",
    ],
)
def test_paths_that_lead_elsewhere(path):
    assert not checked_path(path)


def test_shown_url_holds_no_secret():
    assert shown_url("https://me:hush@models.example:8443/v1?key=hush") == "https://models.example:8443/v1"


def test_proxy_by_the_environment(monkeypatch):
    for name in ("http_proxy", "https_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    assert environment_proxy("https://models.example/v1") is None
    monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
    monkeypatch.setenv("no_proxy", "inside.example")
    assert environment_proxy("https://models.example/v1") == "http://proxy.example:3128"
    assert environment_proxy("http://models.example/v1") is None
    assert environment_proxy("https://a.inside.example/v1") is None
    assert environment_proxy("https://127.0.0.1/v1") is None
    assert environment_proxy("https://localhost/v1") is None
    assert environment_proxy("https://[::1]/v1") is None
