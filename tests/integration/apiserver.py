"""A real Kubernetes API server with its etcd, on loopback, for one test session."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import ssl
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

KUBE_VERSION = "1.34.4"
START_SECONDS = 60


def program(name: str) -> Path | None:
    """Where `name` is: $FANOUT_KUBE_APISERVER and the like, the cache that hack/kube/build.sh fills, or the PATH."""
    stated = os.environ.get(f"FANOUT_{name.replace('-', '_').upper()}")
    if stated:
        return Path(stated)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    built = cache / "fanout" / f"kube-{KUBE_VERSION}" / "bin" / name
    if built.exists():
        return built
    found = shutil.which(name)
    return Path(found) if found else None


def missing() -> str:
    """Why no API server can be started here; empty where one can."""
    absent = [name for name in ("kube-apiserver", "etcd") if program(name) is None]
    return f"{' and '.join(absent)} not found: run hack/kube/build.sh" if absent else ""


def _free_ports(count: int) -> list[int]:
    held = [socket.socket() for _ in range(count)]
    try:
        for each in held:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in held]
    finally:
        for each in held:
            each.close()


@dataclass
class ApiServer:
    """Starts on `start`, forgets everything on `stop`; `client` speaks to it as an administrator."""

    folder: Path
    token: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    url: str = ""

    def start(self) -> None:
        etcd_port, peer_port, port = _free_ports(3)
        etcd = f"http://127.0.0.1:{etcd_port}"
        self._spawn(
            "etcd",
            f"--data-dir={self.folder / 'etcd'}",
            f"--listen-client-urls={etcd}",
            f"--advertise-client-urls={etcd}",
            f"--listen-peer-urls=http://127.0.0.1:{peer_port}",
            "--unsafe-no-fsync",
        )
        self.url = f"https://127.0.0.1:{port}"
        self._spawn("kube-apiserver", *self._flags(etcd, port))
        self._wait()

    def stop(self) -> None:
        for process in reversed(self.processes):
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.processes.clear()

    @property
    def certificate(self) -> Path:
        return self.folder / "certificates" / "apiserver.crt"

    def client(self) -> httpx.Client:
        return httpx.Client(
            base_url=self.url,
            headers={"Authorization": f"Bearer {self.token}"},
            verify=ssl.create_default_context(cafile=str(self.certificate)),
            trust_env=False,
            timeout=30,
        )

    def kubeconfig(self) -> Path:
        """A kubeconfig for kubectl, as the same administrator."""
        path = self.folder / "kubeconfig"
        cluster = {"server": self.url, "certificate-authority": str(self.certificate)}
        content: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "clusters": [{"name": "test", "cluster": cluster}],
            "users": [{"name": "test", "user": {"token": self.token}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        }
        path.write_text(json.dumps(content))
        return path

    def _spawn(self, name: str, *flags: str) -> None:
        executable = program(name)
        assert executable is not None
        with (self.folder / f"{name}.log").open("wb") as log:
            self.processes.append(subprocess.Popen([executable, *flags], stdout=log, stderr=subprocess.STDOUT))

    def _flags(self, etcd: str, port: int) -> list[str]:
        tokens = self.folder / "tokens.csv"
        tokens.write_text(f'{self.token},admin,admin,"system:masters"\n')
        # Service accounts need a key even where nobody uses them.
        key = self.folder / "service-accounts.key"
        private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        key.write_bytes(
            private.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return [
            f"--etcd-servers={etcd}",
            "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1",
            f"--secure-port={port}",
            f"--cert-dir={self.certificate.parent}",
            f"--token-auth-file={tokens}",
            "--authorization-mode=RBAC",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={key}",
            f"--service-account-signing-key-file={key}",
            "--service-cluster-ip-range=10.0.0.0/24",
            "--disable-admission-plugins=ServiceAccount",
            "--endpoint-reconciler-type=none",
        ]

    def _wait(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            for process in self.processes:
                assert process.poll() is None, f"{process.args[0]} ended: see its log in {self.folder}"
            if self._ready():
                return
            time.sleep(0.1)
        raise TimeoutError(f"no API server after {START_SECONDS} s: see the logs in {self.folder}")

    def _ready(self) -> bool:
        if not self.certificate.exists():
            return False
        try:
            with self.client() as client:
                return client.get("/readyz").status_code == 200
        except (httpx.TransportError, ssl.SSLError):  # not listening yet, or the certificate is half written
            return False
