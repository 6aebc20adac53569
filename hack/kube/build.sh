#!/usr/bin/env bash
# Builds Kubernetes' own programs, and the etcd they keep their objects in, from their Go modules: for the tests that want
# a real API server.
#
#   hack/kube/build.sh [COMMAND…]        default: etcd kube-apiserver kubectl
#
# They land in ${XDG_CACHE_HOME:-~/.cache}/fanout/kube-VERSION/bin, outside the tree; what is there already is not built
# again. Needs Go, and some minutes the first time. KUBE_VERSION chooses another version, JOBS limits the compilers at
# work at one moment (GOFLAGS=-p).
set -euo pipefail

version=${KUBE_VERSION:-1.34.4}
cache=${XDG_CACHE_HOME:-$HOME/.cache}/fanout/kube-$version
commands=("$@")
[ ${#commands[@]} -gt 0 ] || commands=(etcd kube-apiserver kubectl)

missing=()
for command in "${commands[@]}"; do
  [ -x "$cache/bin/$command" ] || missing+=("$command")
done
if [ ${#missing[@]} -eq 0 ]; then
  echo "$cache/bin"
  exit 0
fi
if ! command -v go >/dev/null; then
  echo "hack/kube/build.sh: Go is not installed: install it (Debian: apt-get install golang), or put ${missing[*]} $version into $cache/bin" >&2
  exit 1
fi

# etcd's server is a module that Kubernetes requires too, so it comes in the version that fits.
package() {
  if [ "$1" = etcd ]; then echo go.etcd.io/etcd/server/v3; else echo "k8s.io/kubernetes/cmd/$1"; fi
}

mkdir -p "$cache/bin" "$cache/module"
# Two runs at once would write the same module files.
exec 9>"$cache/lock"
flock 9
cd "$cache/module"

# Kubernetes' go.mod replaces its staging modules by folders that only its own tree has. They are published too, as
# v0.MINOR.PATCH, so a module of our own can replace them by those.
cat >go.mod <<MOD
module fanout.dev/hack/kube

go 1.24.0

godebug default=go1.24

require k8s.io/kubernetes v$version
MOD
# The downloaded go.mod: `go mod download` knows its path, and needs none of the replacements.
upstream=$(go mod download -json "k8s.io/kubernetes@v$version" | sed -n 's/^\t"GoMod": "\(.*\)",$/\1/p')
sed -n "s|^\t*\(replace \)\?\(k8s.io/[a-z0-9-]*\) => ./staging/.*|replace \2 => \2 v0.${version#*.}|p" "$upstream" >>go.mod
{
  printf '//go:build tools\n\npackage tools\n\nimport (\n'
  for command in $(printf '%s\n' "${commands[@]}" etcd kube-apiserver kubectl | sort -u); do
    printf '\t_ "%s"\n' "$(package "$command")"
  done
  printf ')\n'
} >tools.go

echo "building ${missing[*]} $version (minutes, the first time)" >&2
export GOFLAGS="-mod=mod${JOBS:+ -p=$JOBS}"
nice -n 19 go mod tidy
stamp="-X k8s.io/component-base/version.gitVersion=v$version -X k8s.io/component-base/version.gitMajor=${version%%.*}"
minor=${version#*.}
stamp="$stamp -X k8s.io/component-base/version.gitMinor=${minor%%.*}"
for command in "${missing[@]}"; do
  nice -n 19 go build -trimpath -ldflags "-s -w $stamp" -o "$cache/module/$command" "$(package "$command")"
  mv "$cache/module/$command" "$cache/bin/$command" # whole or not there: a killed build leaves nothing that looks ready
done
echo "$cache/bin"
