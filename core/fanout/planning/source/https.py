"""A file behind an https:// URL, streamed."""

from __future__ import annotations

import os
import ssl
from collections.abc import AsyncIterator
from urllib.parse import unquote, urljoin, urlsplit, urlunsplit

import aiohttp

from fanout.planning.source.port import READ_BYTES, SourceError

MAX_BYTES = 10 << 30
MAX_REDIRECTS = 5
CONNECT_SECONDS = 30.0
READ_SECONDS = 60.0
_REDIRECTS = (301, 302, 303, 307, 308)


class HttpsSource:
    """One URL. Redirects are followed, but only to https.

    aiohttp itself rather than httpx over it: here is one request, and httpx would add nothing but its import.
    """

    def __init__(
        self,
        url: str,
        *,
        tls: ssl.SSLContext | None = None,
        max_bytes: int = MAX_BYTES,
        connect_seconds: float = CONNECT_SECONDS,
        read_seconds: float = READ_SECONDS,
    ) -> None:
        """`tls`: default is the system's trust, or SSL_CERT_FILE's. `read_seconds`: longest silence of the server."""
        self._url = url
        self._shown = _without_secrets(url)
        self._tls = tls
        self._max_bytes = max_bytes
        self._timeout = aiohttp.ClientTimeout(total=None, sock_connect=connect_seconds, sock_read=read_seconds)

    async def files(self) -> AsyncIterator[tuple[str, AsyncIterator[bytes]]]:
        parts = urlsplit(self._url)
        yield unquote(parts.path.rsplit("/", 1)[-1]) or parts.hostname or self._shown, self._bytes()

    async def _bytes(self) -> AsyncIterator[bytes]:
        tls = self._tls or ssl.create_default_context()
        try:
            async with aiohttp.ClientSession(timeout=self._timeout, trust_env=True) as session:
                response = await self._open(session, tls)
                async with response:
                    async for data in self._body(response):
                        yield data
        except aiohttp.ClientConnectorCertificateError as error:
            raise SourceError(
                f"input.uri: {self._shown}: the server's certificate is not trusted ({error.certificate_error}): set "
                "SSL_CERT_FILE to your authority's certificates"
            ) from None
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise SourceError(
                f"input.uri: {self._shown} cannot be read: {_reason(error)}: check the URL and the network"
            ) from None

    async def _open(self, session: aiohttp.ClientSession, tls: ssl.SSLContext) -> aiohttp.ClientResponse:
        url = self._url
        for _ in range(MAX_REDIRECTS + 1):
            response = await session.get(url, ssl=tls, allow_redirects=False)
            if response.status == 200:
                return response
            location = response.headers.get("Location")
            status = f"{response.status} {response.reason or ''}".strip()
            response.close()
            if response.status not in _REDIRECTS or location is None:
                raise SourceError(
                    f"input.uri: {_without_secrets(url)} answered {status}, not 200: check the URL and who may read it"
                )
            url = urljoin(url, location)
            if urlsplit(url).scheme != "https":
                raise SourceError(
                    f"input.uri: {self._shown} redirects to {_without_secrets(url)}, which is not https: give a URL that is"
                )
        raise SourceError(f"input.uri: {self._shown} redirects more than {MAX_REDIRECTS} times: give the final URL")

    async def _body(self, response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
        size = 0
        async for data in response.content.iter_chunked(READ_BYTES):
            size += len(data)
            if size > self._max_bytes:
                raise SourceError(
                    f"input.uri: {self._shown} is larger than {self._max_bytes:,} bytes, the most that is read: split the input"
                )
            yield data


def _without_secrets(url: str) -> str:
    """The URL as it may be shown: a query may hold a signature, and the host a password."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rsplit("@", 1)[-1], parts.path, "", ""))


def _reason(error: Exception) -> str:
    """What went wrong, without the library's objects, which its own text of a failed connection shows."""
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "its host name cannot be resolved"
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    if isinstance(cause, OSError) and cause.errno is not None and cause.errno > 0:
        return os.strerror(cause.errno).lower()
    return str(error) or type(error).__name__
