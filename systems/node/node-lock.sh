# node-lock acquire|release LOCK OWNER: one recovery per node. Prints the holder and ends 65 when it isn't OWNER.
set -eu
umask 077
VERB=$1 LOCK=$2 OWNER=$3
mkdir -p "$(dirname "$LOCK")"
holder() { head -n 1 "$LOCK" 2>/dev/null || true; }
case $VERB in
  acquire)
    mine=$LOCK.$$
    printf '%s\n%s\n' "$OWNER" "$(date -u +%Y-%m-%dT%H:%M:%SZ)" >"$mine"
    sync -f "$mine" 2>/dev/null || sync
    # A hard link is made by one process only, and the file is whole when it appears.
    ln "$mine" "$LOCK" 2>/dev/null || true
    rm -f "$mine"
    [ "$(holder)" = "$OWNER" ] || { cat "$LOCK"; exit 65; }
    ;;
  release)
    [ ! -e "$LOCK" ] || [ "$(holder)" != "$OWNER" ] || rm -f "$LOCK" "$(dirname "$LOCK")/room"
    ;;
esac
