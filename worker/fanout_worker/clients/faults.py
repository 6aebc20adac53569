"""What went wrong on the wire, in words: never the exception's repr, which may hold the request's headers."""

from __future__ import annotations

import os
import ssl

import aiohttp

from fanout_worker.clients.base import CallError, ConnectionFailedError, ResponseUnusableError


def connect_fault(url: str, exc: Exception, connect_seconds: float) -> ConnectionFailedError:
    """No connection was made, so nothing was sent."""
    cause = exc.os_error if isinstance(exc, aiohttp.ClientConnectorError) else exc
    if isinstance(exc, aiohttp.ConnectionTimeoutError):
        message = (
            f"cannot connect to {url}: no answer within {connect_seconds:g} s; check the endpoint's url and the network"
        )
    elif isinstance(exc, aiohttp.ClientConnectorDNSError):
        message = f"cannot connect to {url}: its host name cannot be resolved; check the endpoint's url"
    elif isinstance(exc, aiohttp.ClientConnectorCertificateError):
        message = (
            f"cannot connect to {url}: its certificate is not trusted ({_reason(exc.certificate_error)}); "
            "SSL_CERT_FILE names a file of certificates to trust"
        )
    elif isinstance(exc, aiohttp.ClientConnectorSSLError):
        message = f"cannot connect to {url}: TLS failed ({_reason(cause)}); does the server speak https?"
    elif isinstance(exc, aiohttp.ClientProxyConnectionError):
        message = (
            f"cannot connect to {url}: the proxy of HTTPS_PROXY or HTTP_PROXY cannot be reached ({_reason(cause)})"
        )
    else:
        message = f"cannot connect to {url}: {_reason(cause)}; check the endpoint's url and whether the server runs"
    return ConnectionFailedError(message, sent=False)


def exchange_fault(url: str, exc: Exception) -> CallError:
    """The connection was there and broke, or what came was not HTTP: the model may have got the request."""
    if isinstance(exc, aiohttp.ServerDisconnectedError):
        return ConnectionFailedError(f"{url} closed the connection without an answer", sent=True)
    if isinstance(exc, aiohttp.ClientPayloadError):
        return ConnectionFailedError(f"the connection to {url} broke in the middle of the answer", sent=True)
    if isinstance(exc, aiohttp.ClientHttpProxyError):
        return ConnectionFailedError(f"cannot connect to {url}: the proxy answered {exc.status}", sent=False)
    if isinstance(exc, aiohttp.ClientResponseError | ValueError):
        return ResponseUnusableError(f"{url} does not answer in HTTP ({type(exc).__name__}); check the endpoint's url")
    return ConnectionFailedError(f"the connection to {url} broke: {_reason(exc)}", sent=True)


def _reason(exc: BaseException) -> str:
    if isinstance(exc, ssl.SSLCertVerificationError):
        return exc.verify_message
    if isinstance(exc, ssl.SSLError):
        return (exc.reason or "handshake failed").replace("_", " ").lower()
    if isinstance(exc, OSError) and exc.errno is not None and exc.errno > 0:
        return os.strerror(exc.errno).lower()
    return type(exc).__name__
