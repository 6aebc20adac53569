"""URLs: the paths that may follow an endpoint's base, how URLs are shown, and the environment's proxy."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

_PATH = re.compile(r"/[!-\"$-\[\]-~]*")  # printable ASCII without # and backslash


def checked_path(path: str) -> bool:
    """Whether `path` stays below the base URL: a passed-through line names its own, and the credential goes along."""
    segments = path.partition("?")[0].lower().replace("%2e", ".").replace("%2f", "/").split("/")
    return _PATH.fullmatch(path) is not None and ".." not in segments


def shown_url(url: str) -> str:
    """`url` for a message: without user name, password and query."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def environment_proxy(url: str) -> str | None:
    """The proxy for `url` by HTTP_PROXY, HTTPS_PROXY and NO_PROXY; none for this machine itself.

    Asked once per endpoint: aiohttp's own trust_env asks for each call, in a thread.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    if _is_loopback(host) or proxy_bypass(host):
        return None
    return getproxies().get(parts.scheme)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
