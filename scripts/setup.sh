#!/usr/bin/env bash
# Installs what building and testing need beyond Go, git and make:
#
#   scripts/setup.sh [redis-server] [redis-sentinel] [cc]     default: all three
#
# cc is a working C compiler, which the race detector needs. What is there
# already is left alone: with everything in place nothing is done and no rights
# are needed. Installing works on Debian and its relatives, as root or through
# sudo; elsewhere the script says what to install by hand and exits 1.
#
# Installing Debian's redis packages would start servers on the default ports.
# The tests start their own on free ports, so these are kept from starting, now
# and at the next boot. A service that was installed before is never touched.
set -euo pipefail

say() { printf 'setup: %s\n' "$*" >&2; }

# cc_works reports whether Go's C compiler can build a program: the compiler
# alone is not enough, the C library's headers and start files belong to it.
cc_works() {
  local cc dir rc=0
  cc=$(CGO_ENABLED=1 go env CC 2>/dev/null) || cc=
  cc=${cc:-gcc}
  command -v "${cc%% *}" >/dev/null 2>&1 || return 1
  dir=$(mktemp -d)
  printf '#include <stdlib.h>\n#include <pthread.h>\nint main(void) { return EXIT_SUCCESS; }\n' >"$dir/a.c"
  # $cc is unquoted on purpose: CC may carry flags.
  $cc -o "$dir/a" "$dir/a.c" >/dev/null 2>&1 || rc=1
  rm -rf "$dir"
  return "$rc"
}

# missing_packages prints the Debian packages that provide what is missing.
missing_packages() {
  local need
  for need in "$@"; do
    case $need in
      redis-server | redis-sentinel) command -v "$need" >/dev/null 2>&1 || echo "$need" ;;
      cc) cc_works || printf 'gcc\nlibc6-dev\n' ;;
      *)
        say "unknown requirement '$need'; known are redis-server, redis-sentinel and cc"
        exit 2
        ;;
    esac
  done
}

by_hand() {
  say "$1"
  say "please install: $2"
  say "(Debian's package names; redis-server and redis-sentinel 6.2 or newer have to be in PATH)"
  exit 1
}

# service_known reports whether the machine has a service of that name.
service_known() {
  [ -e "/etc/init.d/$1" ] || { [ -d /run/systemd/system ] && systemctl cat "$1.service" >/dev/null 2>&1; }
}

policy=/usr/sbin/policy-rc.d
policy_mark="Written by Holdfast's scripts/setup.sh"
policy_ours=
remove_policy() { [ -z "$policy_ours" ] || rm -f "$policy"; }

# forbid_start makes Debian's package scripts leave redis services stopped: they
# ask policy-rc.d, where 101 means no. A policy that the machine has already
# stays in place; keep_stopped covers the case that it says yes.
forbid_start() {
  if [ -e "$policy" ] && ! grep -q "$policy_mark" "$policy"; then return 0; fi
  policy_ours=yes
  trap remove_policy EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM
  cat >"$policy" <<POLICY
#!/bin/sh
# $policy_mark for the time of one installation.
case "\$*" in *redis-server* | *redis-sentinel*) exit 101 ;; esac
exit 0
POLICY
  chmod 755 "$policy"
}

# keep_stopped stops and disables a service that this run brought to the
# machine. None of these commands may fail the installation: a container has
# neither services nor systemd.
keep_stopped() {
  if [ -d /run/systemd/system ]; then
    systemctl disable --now "$1" >/dev/null 2>&1 || true
  elif [ -z "$policy_ours" ]; then
    service "$1" stop >/dev/null 2>&1 || true
  fi
}

# install_packages runs as root.
install_packages() {
  local apt=(apt-get -o DPkg::Lock::Timeout=300) p
  local services=()
  export DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1
  for p in "$@"; do
    case $p in redis-*) service_known "$p" || services+=("$p") ;; esac
  done
  forbid_start
  say "installing $*"
  # The lists may be absent (a fresh container) or so old that the mirror has
  # dropped what they name: only then they are fetched.
  if ! "${apt[@]}" install -y --no-install-recommends "$@" </dev/null >&2; then
    say "fetching the package lists and trying once more"
    "${apt[@]}" update </dev/null >&2 ||
      by_hand "apt-get could not fetch the package lists; is the network there?" "$*"
    "${apt[@]}" install -y --no-install-recommends "$@" </dev/null >&2 ||
      by_hand "apt-get could not install what is missing; its own words are above" "$*"
  fi
  for p in ${services[@]+"${services[@]}"}; do keep_stopped "$p"; done
}

if [ "${1-}" = --install ]; then # the part that needs root, see below
  shift
  install_packages "$@"
  exit 0
fi

[ $# -gt 0 ] || set -- redis-server redis-sentinel cc
list=$(missing_packages "$@")
[ -n "$list" ] || exit 0
names=${list//$'\n'/ }

if ! command -v apt-get >/dev/null 2>&1; then
  by_hand "this is not a Debian system, so nothing is installed here" "$names"
fi
mapfile -t packages <<<"$list"
if [ "$(id -u)" = 0 ]; then
  "$BASH" "$0" --install "${packages[@]}"
elif command -v sudo >/dev/null 2>&1 && { [ -t 0 ] || sudo -n true 2>/dev/null; }; then
  sudo "$BASH" "$0" --install "${packages[@]}"
else
  by_hand "installing needs root, which this user does not have (no sudo, or it wants a password and there is no terminal)" "$names"
fi

list=$(missing_packages "$@")
[ -z "$list" ] || by_hand "installed, but still not usable from this PATH ($PATH)" "${list//$'\n'/ }"
