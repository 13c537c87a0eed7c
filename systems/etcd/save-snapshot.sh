# save-snapshot FILE ETCDUTL ETCDCTL...: saves under a partial name, checks, renames when whole.
set -eu
umask 077
FILE=$1 ETCDUTL=$2
shift 2
mkdir -p "$(dirname "$FILE")"
chmod 700 "$(dirname "$FILE")"
partial=$(dirname "$FILE")/.$(basename "$FILE").partial

# Without it: etcdctl's save waits for an etcd that is gone for as long as its own limit lets it (3.5.16).
answers() { "$@" --command-timeout=5s endpoint status >&2; }

# Ends the save of an etcd that fell silent: nothing was added for 30 s, and it doesn't answer. A file that is
# being synced doesn't grow either, so silence alone is no reason.
save() {
  "$@" snapshot save "$partial" >&2 &
  saving=$!
  size=0 still=0
  while kill -0 "$saving" 2>/dev/null; do
    sleep 0.1
    now=$(stat -c %s "$partial.part" 2>/dev/null || echo 0)
    if [ "$now" = "$size" ]; then still=$((still + 1)); else still=0 size=$now; fi
    [ "$still" -ge 300 ] || continue
    still=0
    answers "$@" || kill -s KILL "$saving" 2>/dev/null || true
  done
  wait "$saving"
}

if [ ! -e "$FILE" ]; then
  rm -f "$partial" "$partial.part" # etcdctl writes to .part first
  if ! answers "$@" || ! save "$@"; then
    rm -f "$partial" "$partial.part"
    exit 75
  fi
  sync -f "$partial" 2>/dev/null || sync
  mv -T "$partial" "$FILE"
fi
check_snapshot "$FILE" "$ETCDUTL"
