# shellcheck shell=bash
# Paths and small helpers of the scripts in dev/. Sourced; the caller has set -euo pipefail.
# shellcheck disable=SC2034 # used by those who source this

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
bin=$root/.local/bin

# Versions of what isn't built from a Go module of dev/tools.
postgres_17=17.6.0

fail() { echo "dev/$(basename "$0"): $*" >&2; exit 1; }

# environment NAME sets the paths of one local environment. A name is also a file name.
environment() {
  [[ $1 =~ ^[a-z0-9][a-z0-9-]{0,29}$ ]] || fail "'$1' is no name: use a-z, 0-9 and -, at most 30 characters"
  name=$1
  state=$root/.local/$name
  logs=$state/logs
  env_file=$state/env
}

# one_at_a_time runs the calling script again under a lock that all clones on this machine share, so that two starts never choose the
# same free port. --close: what is started in the background doesn't keep the lock.
one_at_a_time() {
  if [ -n "${DEV_LOCKED:-}" ]; then
    unset DEV_LOCKED # the scripts that it calls have locks of their own
    return
  fi
  DEV_LOCKED=1 exec flock --close "/tmp/tenantry-$UID-$(basename "$0").lock" "$0" "$@"
}

# until_true SECONDS COMMAND… tries again every 0.1 s and fails when time is up.
until_true() {
  local tries=$(($1 * 10))
  shift
  while ! "$@" >/dev/null 2>&1; do
    ((tries-- > 0)) || return 1
    sleep 0.1
  done
}

# is_ours PID PROGRAM: that process runs that program; its number wasn't given to another.
is_ours() {
  local program
  program=$(readlink "/proc/$1/exe" 2>/dev/null) && [ "${program% (deleted)}" = "$(readlink -f "$2")" ]
}

is_not_ours() { ! is_ours "$@"; }

# stop_process PID-FILE PROGRAM ends it and waits for that.
stop_process() {
  local pid
  if [ -s "$1" ]; then
    pid=$(head -n 1 "$1")
    if is_ours "$pid" "$2"; then
      kill "$pid"
      until_true 10 is_not_ours "$pid" "$2" || kill -KILL "$pid"
    fi
  fi
  rm -f "$1"
}

port_is_free() { ! (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# free_port prints a port that nothing listens on, below those that the kernel hands out.
free_port() {
  local port
  while true; do
    port=$(shuf -i 20000-29999 -n 1)
    if port_is_free "$port"; then
      echo "$port"
      return
    fi
  done
}

# ingress_port prints where local-ingress is to listen: for the demo, where people type addresses,
# port 80 or at least a well-known one; else any that is free.
ingress_port() {
  if [ "$name" = demo ]; then
    if [ "$(id -u)" = 0 ] && port_is_free 80; then echo 80; return; fi
    if port_is_free 8080; then echo 8080; return; fi
  fi
  free_port
}

# set_env KEY=VALUE… writes lines of .local/NAME/env, in place of older ones.
set_env() {
  local pair
  mkdir -p "$state"
  touch "$env_file"
  for pair; do
    sed -i "/^export ${pair%%=*}=/d" "$env_file"
    printf 'export %s=%q\n' "${pair%%=*}" "${pair#*=}" >>"$env_file"
  done
}

# forget_env PATTERN takes out lines whose key matches the whole pattern.
forget_env() {
  [ -f "$env_file" ] || return 0
  sed -i -E "/^export ($1)=/d" "$env_file"
  [ -s "$env_file" ] || rm "$env_file"
}

# clear_empty takes the folders of the environment away once nothing is in them.
clear_empty() { rmdir "$logs" "$state" 2>/dev/null || true; }
