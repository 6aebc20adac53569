"""Starting, feeding and ending the child processes that handle what is untrusted. Engine side."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import fanout
from fanout.planning.wire import LENGTH, MAX_MESSAGE

_KEPT = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "PYTHONHOME", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT")
STDERR_KEPT = 4096
EXIT_SECONDS = 5


def clean_environment() -> dict[str, str]:
    """What a child needs in order to start, and no more: credentials come as environment variables, too."""
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    own = str(Path(fanout.__file__).resolve().parents[1])
    others = [os.path.abspath(p) for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p]  # noqa: PTH100
    return kept | {"PYTHONPATH": os.pathsep.join([own, *others])}


class ChildDiedError(Exception):
    """The child ended before its work did. `cause` says how, for people."""

    def __init__(self, cause: str) -> None:
        super().__init__(cause)
        self.cause = cause


class ChildProcess:
    """One child: messages out, bytes in. Always ended by `stop`."""

    def __init__(self, process: Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        self._process = process
        self._stdin = process.stdin
        self._stdout = process.stdout
        self._stderr = b""
        self._watch = asyncio.create_task(self._keep_stderr(process.stderr))

    @classmethod
    async def start(cls, module: str, arguments: Sequence[str]) -> ChildProcess:
        """Run a module of ours, in a session of its own, so that the terminal's Ctrl-C does not reach it."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", module, *arguments),
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
            env=clean_environment(),
            cwd="/",
            start_new_session=True,
        )
        return cls(process)

    @property
    def pid(self) -> int:
        return self._process.pid

    async def write(self, data: bytes) -> None:
        """Send bytes, as fast as the child takes them. A child that is gone takes none: reading tells."""
        with suppress(BrokenPipeError, ConnectionResetError):
            self._stdin.write(data)
            await self._stdin.drain()

    async def read_message(self) -> bytes:
        """The child's next message. Raises ChildDiedError."""
        try:
            length = int.from_bytes(await self._stdout.readexactly(LENGTH))
            if length > MAX_MESSAGE:
                raise ChildDiedError(f"it sent a message of {length:,} bytes")
            return await self._stdout.readexactly(length)
        except asyncio.IncompleteReadError:
            raise ChildDiedError(await self._cause()) from None

    async def stop(self) -> None:
        """End the child, however it is, and leave nothing of it behind. Safe to call twice, and when cancelled."""
        await asyncio.shield(asyncio.create_task(self._stop()))

    async def _stop(self) -> None:
        self._stdin.close()
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.kill()
        await self._process.wait()
        await self._watch
        with suppress(BrokenPipeError, ConnectionResetError):
            await self._stdin.wait_closed()
        # A pipe with unread data is not closed until it is read.
        with suppress(ConnectionResetError):
            while await self._stdout.read(1 << 20):
                pass

    async def _cause(self) -> str:
        try:
            code = await asyncio.wait_for(self._process.wait(), EXIT_SECONDS)
        except TimeoutError:
            return "it closed its output"
        await self._watch
        said = self._stderr.decode("utf-8", "replace").strip().rsplit("\n", 1)[-1]
        if code < 0:
            with suppress(ValueError):
                return f"it was killed by {signal.Signals(-code).name}"
            return f"it was killed by signal {-code}"
        return f"it ended with exit code {code}" + (f": {said}" if said else "")

    async def _keep_stderr(self, stderr: asyncio.StreamReader) -> None:
        while data := await stderr.read(STDERR_KEPT):
            self._stderr = (self._stderr + data)[-STDERR_KEPT:]
