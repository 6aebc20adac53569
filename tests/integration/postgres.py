"""A real PostgreSQL on loopback for one test session, from the binaries that the machine has."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

START_SECONDS = 30
PROGRAMS = ("initdb", "postgres", "pg_isready")


def bin_folder() -> Path | None:
    """The newest folder with all programs: $FANOUT_POSTGRES_BIN, Debian's packages, or the PATH."""
    stated = os.environ.get("FANOUT_POSTGRES_BIN")
    packaged = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: [p.parent.name.zfill(4)], reverse=True)
    on_path = shutil.which("postgres")
    candidates = [*([Path(stated)] if stated else []), *packaged, *([Path(on_path).parent] if on_path else [])]
    return next((folder for folder in candidates if all((folder / name).exists() for name in PROGRAMS)), None)


def _unprivileged() -> dict[str, Any]:
    """PostgreSQL refuses to run as root: whom to run it as instead, for subprocess."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            user = pwd.getpwnam(name)
            return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    return {}


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextlib.contextmanager
def running_postgres() -> Iterator[str]:
    """A server without durability; gives 'fanout@127.0.0.1:port'. Raises RuntimeError with its log if it fails."""
    programs = bin_folder()
    if programs is None:
        raise RuntimeError("no PostgreSQL here (Debian: postgresql; or FANOUT_POSTGRES_BIN)")
    folder = Path(tempfile.mkdtemp(prefix="fanout-postgres-"))
    who = _unprivileged()
    # The working directory may be closed to whom it runs as.
    options: dict[str, Any] = {"cwd": folder, **who}
    if who:
        os.chown(folder, who["user"], who["group"])
    data, log, port = folder / "data", folder / "log", _free_port()
    server: subprocess.Popen[bytes] | None = None
    try:
        initdb = [
            programs / "initdb",
            "-D",
            data,
            "-U",
            "fanout",
            "--auth=trust",
            "--no-sync",
            "-E",
            "UTF8",
            "--locale=C",
        ]
        made = subprocess.run(initdb, capture_output=True, text=True, check=False, **options)
        if made.returncode:
            raise RuntimeError(f"initdb fails: {made.stderr.strip()}")
        settings = {
            "listen_addresses": "127.0.0.1", "port": port, "unix_socket_directories": "",
            "fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "max_connections": 50,
        }  # fmt: skip
        command = [programs / "postgres", "-D", data, *(f"--{name}={value}" for name, value in settings.items())]
        with log.open("wb") as output:
            server = subprocess.Popen(command, stdout=output, stderr=output, **options)
        _wait_until_ready(programs, port, server, log)
        yield f"fanout@127.0.0.1:{port}"
    finally:
        if server is not None and server.poll() is None:
            server.send_signal(signal.SIGQUIT)  # at once: nothing of it is kept
            server.wait(10)
        shutil.rmtree(folder, ignore_errors=True)


def _wait_until_ready(programs: Path, port: int, server: subprocess.Popen[bytes], log: Path) -> None:
    ask = [programs / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)]
    deadline = time.monotonic() + START_SECONDS
    while subprocess.run(ask, check=False).returncode:
        if server.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"PostgreSQL does not start: {log.read_text()}")
        time.sleep(0.05)
