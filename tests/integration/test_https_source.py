"""https:// input from a real server on loopback, with a certificate of a test authority."""

import asyncio
import os
import ssl
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trustme
from aiohttp import web

from fanout.planning.source import Source, SourceError
from fanout.planning.source.https import HttpsSource

BODY = b"line\n" * 500_000
AUTHORITY = trustme.CA()


async def handle(request: web.Request) -> web.StreamResponse:
    name = request.path.removeprefix("/")
    if name.startswith("hop"):
        left = int(name.removeprefix("hop"))
        raise web.HTTPFound(f"/hop{left - 1}" if left else "/data.jsonl")
    match name:
        case "data.jsonl":
            return web.Response(body=BODY)
        case "plain":
            raise web.HTTPFound("http://127.0.0.1:1/data.jsonl")
        case "cut":
            response = web.StreamResponse(headers={"Content-Length": "1000000"})
            await response.prepare(request)
            await response.write(b"x" * 1000)
            assert request.transport is not None
            request.transport.close()
            return response
        case "silent":
            response = web.StreamResponse()
            await response.prepare(request)
            await response.write(b"x")
            await asyncio.sleep(30)
            return response
    raise web.HTTPForbidden


@pytest.fixture
async def server() -> AsyncIterator[str]:
    """The base URL of a running server."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    AUTHORITY.issue_cert("127.0.0.1").configure_cert(tls)
    runner = web.ServerRunner(web.Server(handle), shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    host, port = runner.addresses[0][:2]
    yield f"https://{host}:{port}"
    await runner.cleanup()


@pytest.fixture
def trust() -> ssl.SSLContext:
    tls = ssl.create_default_context()
    AUTHORITY.configure_trust(tls)
    return tls


async def read(source: Source) -> tuple[str, bytes]:
    async for name, data in source.files():
        return name, b"".join([piece async for piece in data])
    raise AssertionError("no file")


@pytest.mark.parametrize("path", ["data.jsonl", "hop4"])
async def test_a_file_is_read_through_redirects(server: str, trust: ssl.SSLContext, path: str) -> None:
    assert await read(HttpsSource(f"{server}/{path}?sig=secret", tls=trust)) == (path, BODY)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("no", r"/no answered 403 Forbidden, not 200: check the URL"),
        ("hop6", r"/hop6 redirects more than 5 times"),
        ("plain", r"redirects to http://127.0.0.1:1/data.jsonl, which is not https"),
        ("cut", r"/cut cannot be read: .*"),
        ("silent", r"/silent cannot be read: .*"),
    ],
)
async def test_what_cannot_be_read(server: str, trust: ssl.SSLContext, path: str, message: str) -> None:
    with pytest.raises(SourceError, match=message) as error:
        await read(HttpsSource(f"{server}/{path}?sig=secret", tls=trust, read_seconds=0.5))
    assert "secret" not in str(error.value)


async def test_the_size_is_limited(server: str, trust: ssl.SSLContext) -> None:
    with pytest.raises(SourceError, match="is larger than 1,000 bytes"):
        await read(HttpsSource(f"{server}/data.jsonl", tls=trust, max_bytes=1000))


async def test_nobody_there(trust: ssl.SSLContext) -> None:
    with pytest.raises(SourceError, match=r"https://127.0.0.1:1/x cannot be read: "):
        await read(HttpsSource("https://127.0.0.1:1/x", tls=trust))


async def test_an_authority_that_is_not_trusted(server: str) -> None:
    with pytest.raises(SourceError, match=r"certificate is not trusted .* SSL_CERT_FILE"):
        await read(HttpsSource(f"{server}/data.jsonl"))


async def test_ssl_cert_file(server: str, tmp_path: Path) -> None:
    AUTHORITY.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    code = (
        "import asyncio, sys\nfrom pathlib import Path\nfrom fanout.planning.source import open_source\n"
        "async def main():\n"
        "    async for name, data in open_source(sys.argv[1], Path()).files():\n"
        "        print(name, sum([len(piece) async for piece in data]))\n"
        "asyncio.run(main())"
    )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", code, f"{server}/data.jsonl"),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "SSL_CERT_FILE": str(tmp_path / "ca.pem")},
    )
    out, _ = await process.communicate()
    assert out.decode().split() == ["data.jsonl", str(len(BODY))]
