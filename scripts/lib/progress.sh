# shellcheck shell=bash
# Long builds say how far they are. On a terminal cargo draws its own bar; elsewhere one line every 30 seconds stands for
# the hundreds of "Compiling" lines, and everything else that cargo says passes through.

PROGRESS_SECONDS=${EDGESCOPE_PROGRESS_SECONDS:-30}
PROGRESS_NOISE='^ +(Compiling|Checking|Downloading|Downloaded|Fresh|Dirty) '

# crates_total: packages in the lock file's graph for this machine, an upper bound of what one build compiles.
crates_total() {
  cargo tree --workspace --locked --edges normal,build,dev --prefix none --format '{p}' 2>/dev/null | sort -u | wc -l
}

# with_progress LABEL COMMAND…: runs it; its exit code is the command's. The cache's locks (8, 9) are not handed down.
with_progress() {
  local label=$1 log beat status=0
  shift
  if [[ -t 2 || -n ${EDGESCOPE_PROGRESS_KEEP:-} ]]; then
    "$@" 8>&- 9>&-
    return
  fi
  log=$(mktemp)
  heartbeat "$label" "$log" 8>&- 9>&- &
  beat=$!
  # 3 is the command's stdout; only its stderr is filtered. grep's own exit code says nothing here.
  {
    "$@" 2>&1 >&3 3>&- 8>&- 9>&- | tee "$log" | { grep --line-buffered -vE "$PROGRESS_NOISE" || true; } >&2 ||
      status=${PIPESTATUS[0]}
  } 3>&1
  kill "$beat" 2>/dev/null || true
  wait "$beat" 2>/dev/null || true
  rm -f "$log"
  return "$status"
}

heartbeat() {
  local label=$1 log=$2 start=$SECONDS total='' nap=''
  trap 'kill $nap 2>/dev/null; exit' TERM
  while :; do
    sleep "$PROGRESS_SECONDS" &
    nap=$!
    wait "$nap"
    tail -n 1 "$log" | grep -qE "$PROGRESS_NOISE" || continue # it is not compiling: it speaks for itself
    [[ -n $total ]] || total=$(crates_total)
    say "   $label: $(duration $((SECONDS - start))), $(grep -oE '^ +(Compiling|Checking) [^ ]+ [^ ]+' "$log" | sort -u | wc -l) of at most $total crates"
  done
}
