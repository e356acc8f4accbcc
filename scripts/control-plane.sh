#!/usr/bin/env bash
# Provides the real etcd and kube-apiserver that the lab and the contract tests run against.
#
# Guarantees: at the end both are in one folder, whole and able to start, or the last line says why not and the exit code is
# 1. What is there already is not made again. Nothing of this machine's own services or sources of packages is changed;
# the packages needed for building are installed.
#
# KUBEBUILDER_ASSETS names a folder with both; then there is nothing to do. Otherwise they go to LEASEHOLD_ASSETS, by default
# ~/.cache/leasehold: etcd out of Debian's package, and kube-apiserver built from Debian's own source package, which takes
# about four minutes on two cores, 2.5 GB while it lasts, and root. It does this on Debian 12.
#
# That is Kubernetes 1.20.2, and there is no later one to build: since 1.31 Debian's source package holds kubectl alone, and
# no other package of bookworm, trixie or sid holds the rest. What a later Kubernetes does is tried with KUBEBUILDER_ASSETS, as
# setup-envtest fills it. The last line names the versions, so that a run says what it was held against.
set -euo pipefail

readonly assets=${LEASEHOLD_ASSETS:-${XDG_CACHE_HOME:-$HOME/.cache}/leasehold}
readonly keyring=/usr/share/keyrings/debian-archive-keyring.gpg

give_up() {
  echo "No Kubernetes control plane: $*" >&2
  exit 1
}

# Runs a step, and shows what it said only if it fails.
quietly() {
  "$@" >"$work/log" 2>&1 || {
    tail -n 30 "$work/log" >&2
    give_up "\"$*\" failed; the end of what it said is above."
  }
}

# Whether a program of a folder starts.
starts() { [ -x "$1/$2" ] && "$1/$2" --version >/dev/null 2>&1; }

# What a folder holds, with the versions that the programs themselves name.
describe() {
  echo "$("$1/etcd" --version | sed -n 's/^etcd Version: /etcd /p') and $("$1/kube-apiserver" --version | sed 's/^Kubernetes v/kube-apiserver /') are in $1."
}

# apt with the sources of Debian, beside this machine's own settings and not in their place.
apt_sources() {
  apt-get -o Dir::Etc::SourceList="$work/sources.list" -o Dir::Etc::SourceParts=- -o Dir::State::Lists="$work/lists" \
    -o APT::Sandbox::User=root "$@"
}

# Puts a program into its place in one go, so that nobody ever finds half of one.
place() {
  install -D -m 755 "$1" "$assets/.$2.$$"
  mv "$assets/.$2.$$" "$assets/$2"
}

take_etcd() {
  echo "Taking etcd out of Debian's package etcd-server …"
  cd "$work"
  quietly apt-get -o APT::Sandbox::User=root download etcd-server
  quietly dpkg-deb -x etcd-server_*.deb etcd
  place etcd/usr/bin/etcd etcd
}

build_kube_apiserver() {
  echo "Installing what builds Go programs …"
  DEBIAN_FRONTEND=noninteractive quietly apt-get install -y --no-install-recommends golang-go make rsync dpkg-dev
  echo "Fetching the source package kubernetes …"
  apt-get indextargets --format "deb-src [signed-by=$keyring] \$(REPO_URI) \$(RELEASE) \$(COMPONENT)" \
    'Created-By: Packages' 'Origin: Debian' 'Component: main' | sort -u >"$work/sources.list"
  [ -s "$work/sources.list" ] || give_up "apt knows no archive of Debian to get the source package from."
  mkdir -p "$work/lists/partial" && cd "$work"
  quietly apt_sources update
  quietly apt_sources source --download-only kubernetes
  # apt has checked its signature.
  quietly dpkg-source --no-check -x kubernetes_*.dsc src
  echo "Building kube-apiserver, which takes some minutes …"
  # As Debian's own debian/rules does: a folder layout of the time before modules.
  export GOPATH=$work/src/.go GO111MODULE=off CGO_ENABLED=0 HOME=$work GOCACHE=$work/go-cache GOFLAGS=
  mkdir -p "$GOPATH/src/k8s.io" && ln -s ../../.. "$GOPATH/src/k8s.io/kubernetes"
  cd "$GOPATH/src/k8s.io/kubernetes"
  quietly make generated_files
  quietly make WHAT=cmd/kube-apiserver
  place _output/bin/kube-apiserver kube-apiserver
}

if [ -n "${KUBEBUILDER_ASSETS:-}" ]; then
  for program in etcd kube-apiserver; do
    starts "$KUBEBUILDER_ASSETS" "$program" || give_up "KUBEBUILDER_ASSETS is $KUBEBUILDER_ASSETS, and no $program starts there."
  done
  describe "$KUBEBUILDER_ASSETS"
  exit 0
fi

if ! starts "$assets" etcd || ! starts "$assets" kube-apiserver; then
  [ "$(id -u)" -eq 0 ] || give_up "building it needs root. Run this once as root with LEASEHOLD_ASSETS=/opt/leasehold, and set KUBEBUILDER_ASSETS=/opt/leasehold then, or to any other folder with etcd and kube-apiserver."
  codename=$(. /etc/os-release 2>/dev/null && echo "${ID:-} ${VERSION_CODENAME:-}") || codename=
  [ "$codename" = 'debian bookworm' ] || give_up "it is built from the packages of Debian 12, and this is something else. Set KUBEBUILDER_ASSETS to a folder with etcd and kube-apiserver."
  work=$(mktemp -d)
  # Go leaves folders that cannot be written to.
  trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
  quietly apt-get update
  if ! starts "$assets" etcd; then (take_etcd); fi
  if ! starts "$assets" kube-apiserver; then (build_kube_apiserver); fi
  echo "Done in $SECONDS s."
fi
describe "$assets"
