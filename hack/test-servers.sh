#!/usr/bin/env bash
# Installs the servers that some tests start on loopback: PostgreSQL from Debian's packages, and a Kubernetes API server
# with its etcd, built from their Go modules. Where one cannot be had it says why in a line, and its tests are skipped.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { echo "test-servers: $*" >&2; }

has_postgres() {
  [ -n "${FANOUT_POSTGRES_BIN:-}" ] || command -v initdb >/dev/null || compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null
}

if ! has_postgres; then
  if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    say "skipping the ledger's tests on PostgreSQL: its server is not installed (as root: apt-get install postgresql)"
  else
    say "installing PostgreSQL's server (Debian's packages)"
    { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends postgresql; } >/dev/null 2>&1 ||
      true
    has_postgres || say "skipping the ledger's tests on PostgreSQL: apt-get could not install it"
  fi
fi

if [ -z "${FANOUT_KUBE_APISERVER:-}" ] && ! hack/kube/build.sh >/dev/null; then
  say "skipping the tests on a Kubernetes API server: it could not be built (the reason stands above)"
fi
