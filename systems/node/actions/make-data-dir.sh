# make-data-dir RECOVERY PATH ASIDE OWNER MODE
RECOVERY=$1 TARGET=$2 ASIDE=$3 OWNER=$4 MODE=$5
forward
if [ -e "$RECOVERY/etcd-started" ]; then
  note "made before, and etcd was started on it: $TARGET"
  exit 0
fi
if [ -e "$TARGET" ] && [ -n "$(ls -A "$TARGET")" ]; then
  die 65 "$TARGET is not empty"
fi
mkdir -p "$TARGET"
chown "$OWNER" "$TARGET"
chmod "$MODE" "$TARGET"
if [ -e "$ASIDE" ] && command -v chcon >/dev/null 2>&1; then
  chcon --reference="$ASIDE" "$TARGET" 2>/dev/null || true # no SELinux here
fi
settle "$(dirname "$TARGET")"
note "made: $TARGET, empty"
