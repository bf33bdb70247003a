# shellcheck shell=bash disable=SC2034
# Sourced by every script: where the checkout is, how to speak, how to ask.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
CACHE=${EDGESCOPE_CACHE:-${XDG_CACHE_HOME:-${HOME:?HOME is not set; set it or EDGESCOPE_CACHE}/.cache}/edgescope}

# Tools that setup could only get by compiling them live beside the cache, so that no system folder is touched.
PATH=$CACHE/tools/bin:$PATH

# All messages go to stderr: stdout belongs to the program that a script runs (`make demo ARGS='--once --json'`).
say() { printf '%s\n' "$*" >&2; }
step() { printf '\n== %s\n' "$*" >&2; }
warn() { printf 'warning: %s\n' "$*" >&2; }
die() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }
is_root() { [[ $(id -u) == 0 ]]; }
in_ci() { [[ ${CI:-} == true ]]; }

# ask QUESTION: true after a yes. In CI as root the answer is yes; without a terminal nobody can be asked: no.
ask() {
  if in_ci; then is_root; return; fi
  [[ -t 0 && -t 2 ]] || return 1
  local answer
  read -r -p "$1 [y/N] " answer </dev/tty || return 1
  [[ $answer == [yY]* ]]
}

# duration SECONDS: for people.
duration() {
  if (($1 >= 60)); then printf '%d min %02d s' $(($1 / 60)) $(($1 % 60)); else printf '%d s' "$1"; fi
}
