# shellcheck shell=bash disable=SC2016
# Compiled dependencies outside the checkout: docs/decisions/002-build-cache.md says why it is so.
#
#   $CACHE/checkouts/<id>/target   the target directory of one checkout; its binaries are nobody else's
#   $CACHE/seeds/<key>/target      compiled dependencies alone, for every checkout with this key
#   $CACHE/seeds/<key>.lock        held by whoever compiles them first; the others wait and take them over
#
# <key> is of Cargo.lock, the compiler and the profiles; <id> is of the checkout's folder. File descriptors: 8 is the
# checkout's lock (against pruning), 9 the seed's, 7 the whole cache's, held for moments.

CACHE_DAYS_MAX=14
CACHE_SEEDS_MAX=3
# A target directory that has seen many lock files holds many dead builds; one graph with its checks and tests is under 10 GB.
CACHE_TARGET_GB_MAX=${EDGESCOPE_CACHE_TARGET_GB_MAX:-25}
# Cargo writes small files (fingerprints, dependency lists) in place; compilers and linkers replace what they make. Only the
# latter, which are the large ones, may be shared by hard links.
CACHE_LINK_KIB_MIN=64

cache_hash() { sha256sum | cut -c1-16; }

cache_compiler() {
  (cd "$ROOT" && rustc -vV && printf '%s\n' "${RUSTFLAGS:-}" "${CARGO_ENCODED_RUSTFLAGS:-}") | cache_hash
}

cache_key() {
  {
    cat "$ROOT/Cargo.lock"
    awk '/^\[/ { on = /^\[profile/ } on' "$ROOT/Cargo.toml"
    cat "$ROOT/.cargo/config.toml" 2>/dev/null || true
    cache_compiler
  } | cache_hash
}

# The folder itself, not its name: another clone at the same path is another checkout (inode and birth differ).
cache_checkout_id() { stat -c '%n %d %i %W' "$1" 2>/dev/null | cache_hash; }

# cache_locate: sets CACHE_KEY, CACHE_SEED, CACHE_CHECKOUT and exports CARGO_TARGET_DIR. A developer's own CARGO_TARGET_DIR is
# respected, and shared with nobody (CACHE_OFF=1).
cache_locate() {
  CACHE_OFF=0
  if [[ -n ${CARGO_TARGET_DIR:-} ]]; then
    CACHE_OFF=1
    return
  fi
  CACHE_KEY=$(cache_key)
  CACHE_SEED=$CACHE/seeds/$CACHE_KEY
  CACHE_CHECKOUT=$CACHE/checkouts/$(cache_checkout_id "$ROOT")
  export CARGO_TARGET_DIR=$CACHE_CHECKOUT/target
}

# cache_open KIND: fetches the dependencies of that KIND (check or build) if anyone has compiled them. If nobody has, the
# seed's lock stays held until cache_close, so that two new checkouts do not compile them twice.
cache_open() {
  local kind=$1
  CACHE_FILLING=0
  [[ $CACHE_OFF == 0 ]] || return 0
  mkdir -p "$CACHE/seeds" "$CACHE/checkouts"
  exec 7>>"$CACHE/lock"
  flock -s 7
  mkdir -p "$CARGO_TARGET_DIR" "$CACHE_CHECKOUT/stamps"
  printf '%s\n' "$ROOT" >"$CACHE_CHECKOUT/checkout"
  touch "$CACHE_CHECKOUT"
  exec 8>>"$CACHE_CHECKOUT/lock"
  flock -s 8
  exec 7>&-
  cache_prune

  [[ ! -e $CACHE_CHECKOUT/stamps/$CACHE_KEY-$kind ]] || return 0
  cache_lock_seed
  if [[ -e $CACHE_SEED/kinds/$kind ]]; then
    cache_copy "$CACHE_SEED/target" "$CARGO_TARGET_DIR"
    touch "$CACHE_SEED" "$CACHE_CHECKOUT/stamps/$CACHE_KEY-$kind"
    exec 9>&-
    say "   compiled dependencies come from the cache (key $CACHE_KEY)"
    return
  fi
  CACHE_FILLING=1
  cache_inherit
  say "   compiling the dependencies ($kind); later builds and other checkouts reuse them (key $CACHE_KEY)"
}

# cache_close KIND STATUS: shares what was compiled, and lets waiting checkouts go on.
cache_close() {
  local kind=$1 status=$2
  [[ $CACHE_OFF == 0 ]] || return 0
  if [[ $status == 0 ]]; then
    if [[ $CACHE_FILLING == 1 ]]; then
      cache_publish "$kind"
    elif cache_has_news; then
      # Features can change under one key. Whoever holds the lock for longer is compiling the same things, and will share them.
      exec 9>>"$CACHE_SEED.lock"
      if flock -w 5 9; then cache_publish "$kind"; fi
    fi
    touch "$CACHE_CHECKOUT/stamps/$CACHE_KEY-$kind"
  fi
  exec 9>&- 8>&-
}

cache_lock_seed() {
  local start=$SECONDS
  exec 9>>"$CACHE_SEED.lock"
  flock -n 9 && return
  until flock -w 30 9; do
    say "   another checkout is compiling these dependencies: waiting, $(duration $((SECONDS - start)))"
  done
}

# A new key seldom changes more than a few crates: start from the newest seed of the same compiler.
cache_inherit() {
  local seed compiler
  compiler=$(cache_compiler)
  while IFS= read -r seed; do
    [[ $(cat "$seed/compiler" 2>/dev/null) == "$compiler" ]] || continue
    if [[ $seed == "$CACHE_SEED" ]]; then # its lock is already ours
      cache_copy "$seed/target" "$CARGO_TARGET_DIR"
      return
    fi
    exec 6>>"$seed.lock"
    if flock -s -w 10 6; then
      cache_copy "$seed/target" "$CARGO_TARGET_DIR"
      exec 6>&-
      return
    fi
    exec 6>&-
  done < <(cache_newest_first "$CACHE/seeds")
}

cache_newest_first() {
  find "$1" -mindepth 1 -maxdepth 1 -type d ! -name '*.tmp.*' -printf '%T@ %p\n' | sort -rn | cut -d' ' -f2-
}

# cache_copy FROM TO [LIST]: every file (or those of LIST, one relative path a line) that TO lacks, with its times to the
# nanosecond: cargo compares them. Fingerprints go last, so that what has one is complete.
cache_copy() {
  local from=$1 to=$2 list=${3:-} missing
  [[ -d $from ]] || return 0
  mkdir -p "$to"
  from=$(cd "$from" && pwd)
  to=$(cd "$to" && pwd)
  missing=$(mktemp)
  LC_ALL=C comm -23 \
    <(if [[ -n $list ]]; then cat "$list"; else (cd "$from" && find . -type f); fi | LC_ALL=C sort) \
    <(cd "$to" && find . -type f | LC_ALL=C sort) >"$missing"
  (
    cd "$from" || exit
    cache_of_size "+$CACHE_LINK_KIB_MIN" <"$missing" | cache_cp --link "$to"
    cache_of_size "-$((CACHE_LINK_KIB_MIN + 1))" <"$missing" | { grep -v '/\.fingerprint/' || true; } | cache_cp --reflink=auto "$to"
    cache_of_size "-$((CACHE_LINK_KIB_MIN + 1))" <"$missing" | { grep '/\.fingerprint/' || true; } | cache_cp --reflink=auto "$to"
  )
  rm -f "$missing"
}

# Both read relative paths, a line each. find's sizes are in KiB, rounded up.
cache_of_size() { xargs -r -d '\n' -n 1000 sh -c 'size=$1; shift; exec find "$@" -maxdepth 0 -size "${size}k"' sh "$1"; }
cache_cp() { xargs -r -d '\n' -n 1000 cp -a --parents "$1" -t "$2"; }

# Names of the packages of this workspace: their builds stay with the checkout.
cache_own_packages() {
  find "$ROOT" \( -name target -o -name node_modules -o -name .git \) -prune -o -name Cargo.toml -print0 |
    xargs -0 awk '/^\[/ { on = $0 == "[package]" } on && /^name *=/ { gsub(/.*= *"|".*/, ""); print }'
}

# cache_units TARGET: "profile name-hash" of each compiled unit that is not of this workspace.
cache_units() {
  [[ -d $1 ]] || return 0
  (cd "$1" && find . -mindepth 3 -maxdepth 3 -path './*/.fingerprint/*' -type d -printf '%P\n') |
    awk -v own="$(cache_own_packages | tr '\n' ' ')" '
      BEGIN { n = split(own, names, " "); for (i = 1; i <= n; i++) mine[names[i]] = 1 }
      { split($0, p, "/"); name = p[3]; sub(/-[0-9a-f]+$/, "", name); if (!(name in mine)) print p[1] " " p[3] }' |
    LC_ALL=C sort
}

cache_has_news() {
  [[ -n $(LC_ALL=C comm -23 <(cache_units "$CARGO_TARGET_DIR") <(cache_units "$CACHE_SEED/target")) ]]
}

# cache_publish KIND: puts this checkout's dependencies where others find them, whole or not at all.
cache_publish() {
  local kind=$1 new=$CACHE_SEED.tmp.$$ units files
  units=$(mktemp)
  files=$(mktemp)
  cache_units "$CARGO_TARGET_DIR" >"$units"
  # A unit's hash is in the names of all its files.
  (cd "$CARGO_TARGET_DIR" && find . -type f \( -path './*/.fingerprint/*' -o -path './*/build/*' -o -path './*/deps/*' \)) |
    awk -v units="$units" '
      BEGIN { while ((getline line < units) > 0) { hash = line; sub(/.*-/, "", hash); sub(/ .*/, "", line); keep[line " " hash] = 1 } }
      { split($0, p, "/")
        if (match(p[4], /-[0-9a-f]+(\.|$)/)) {
          hash = substr(p[4], RSTART + 1, RLENGTH - 1); sub(/\.$/, "", hash)
          if ((p[2] " " hash) in keep) print } }' >"$files"
  rm -rf "$new"
  mkdir -p "$new/kinds"
  [[ ! -d $CACHE_SEED/kinds ]] || cp -a "$CACHE_SEED/kinds/." "$new/kinds/"
  cache_copy "$CARGO_TARGET_DIR" "$new/target" "$files"
  cache_copy "$CACHE_SEED/target" "$new/target" # what other checkouts have added under the same key
  touch "$new/kinds/$kind"
  cache_compiler >"$new/compiler"
  rm -rf "$CACHE_SEED"
  mv "$new" "$CACHE_SEED"
  rm -f "$units" "$files"
}

# Old and ownerless entries go, but never one in use: its lock is held.
cache_prune() {
  local entry n=1
  exec 7>>"$CACHE/lock"
  flock -n 7 || { exec 7>&- && return; }
  while IFS= read -r entry; do
    [[ $entry != "$CACHE_CHECKOUT" ]] || continue
    if cache_is_ownerless "$entry" || cache_is_old "$entry"; then cache_drop "$entry" "$entry/lock"; fi
  done < <(cache_newest_first "$CACHE/checkouts")
  while IFS= read -r entry; do
    [[ $entry != "$CACHE_SEED" ]] || continue
    n=$((n + 1))
    if ((n > CACHE_SEEDS_MAX)) || cache_is_old "$entry"; then cache_drop "$entry" "$entry.lock"; fi
  done < <(cache_newest_first "$CACHE/seeds")
  # A publisher that died leaves a half-made copy, which nobody else writes.
  for entry in "$CACHE"/seeds/*.tmp.*; do
    if [[ -d $entry && ! -d /proc/${entry##*.} ]]; then rm -rf "$entry"; fi
  done
  exec 7>&-
  if (($(du -s --block-size=1G "$CARGO_TARGET_DIR" | cut -f1) > CACHE_TARGET_GB_MAX)); then
    say "   $CARGO_TARGET_DIR is larger than $CACHE_TARGET_GB_MAX GB: starting it anew"
    rm -rf "$CARGO_TARGET_DIR" "$CACHE_CHECKOUT/stamps"
    mkdir -p "$CARGO_TARGET_DIR" "$CACHE_CHECKOUT/stamps"
  fi
}

cache_is_ownerless() {
  local checkout
  checkout=$(cat "$1/checkout" 2>/dev/null) || return 0
  [[ $(cache_checkout_id "$checkout") != "${1##*/}" ]]
}
cache_is_old() { [[ -n $(find "$1" -maxdepth 0 -mtime "+$CACHE_DAYS_MAX") ]]; }

# cache_drop ENTRY LOCK: a seed's lock file stays, since someone may be waiting on it.
cache_drop() {
  (
    exec 5>>"$2"
    flock -n 5 || exit 0
    rm -rf "$1"
  )
}
