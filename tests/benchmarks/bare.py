"""The simplest thing that works: asyncio, httpx on aiohttp's transport, a semaphore. No retry, no ledger, no resume."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import httpx
from httpx_aiohttp import AiohttpTransport


async def main(url: str, records: Path, concurrency: int) -> None:
    async with httpx.AsyncClient(transport=AiohttpTransport(), timeout=120) as client:
        slots = asyncio.Semaphore(concurrency)

        async def ask(text: str) -> str:
            async with slots:
                body = {"model": "any", "messages": [{"role": "user", "content": text}]}
                response = await client.post(f"{url}/chat/completions", json=body)
                response.raise_for_status()
                return str(response.json()["choices"][0]["message"]["content"])

        with records.open(encoding="utf-8") as file:
            texts = [json.loads(line)["text"] for line in file]
        await asyncio.gather(*(ask(text) for text in texts))


if __name__ == "__main__":
    try:
        import uvloop

        uvloop.run(main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])))
    except ImportError:
        asyncio.run(main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])))
