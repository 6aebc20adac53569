#!/usr/bin/env bash
# Makes a virtual environment and installs this project into it, editable, with one of its extras.
#
#   hack/venv.sh FOLDER EXTRA        EXTRA: run (what `fanout run` needs) or dev (and the tests and linters)
#
# PYTHON chooses the interpreter; otherwise the newest of those here that are new enough and can make environments.
# What is installed is stamped as FOLDER/.EXTRA, for make.
set -euo pipefail
cd "$(dirname "$0")/.."

venv=$1 extra=$2

# A name on the PATH may be a version manager's stand-in that only tells it is not selected: so each is tried.
usable() {
  "$1" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

find_python() {
  local candidate
  for candidate in ${PYTHON:-python3.14 python3.13 python3.12 python3.11 python3}; do
    if usable "$candidate"; then
      echo "$candidate"
      return
    fi
  done
  return 1
}

if ! "$venv/bin/python" -c '' 2>/dev/null; then
  if ! python=$(find_python); then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null && [ -z "${PYTHON:-}" ]; then
      echo "installing python3-venv (Debian's packages)" >&2
      { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends python3 python3-venv; } >/dev/null
    fi
    if ! python=$(find_python); then
      echo "error: no Python 3.11 or newer with venv and ensurepip${PYTHON:+ at PYTHON=$PYTHON}: install one" \
        "(Debian 12 and newer: apt-get install python3-venv), or name it: make PYTHON=/path/to/python3.12 …" >&2
      exit 1
    fi
  fi
  rm -rf "$venv"
  "$python" -m venv "$venv"
fi

echo "installing fanout-dev[$extra] into $venv (a minute or two, the first time)" >&2
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --editable ".[$extra]"

touch "$venv/.$extra"
if [ "$extra" = dev ]; then
  touch "$venv/.run" # dev contains run
fi
