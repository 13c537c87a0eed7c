# make-data-dir RECOVERY PATH ASIDE OWNER MODE
RECOVERY=$1 TARGET=$2 ASIDE=$3 OWNER=$4 MODE=$5

admit() {
  forward
  if [ -e "$RECOVERY/etcd-started" ]; then
    found="made before, and etcd was started on it: $TARGET"
  elif [ -e "$TARGET" ] && [ -n "$(ls -A "$TARGET")" ]; then
    die 65 "$TARGET is not empty"
  fi
}

execute() {
  mkdir -p "$TARGET"
  chown "$OWNER" "$TARGET"
  chmod "$MODE" "$TARGET"
  label_as "$ASIDE" "$TARGET"
  settle "$(dirname "$TARGET")"
  did="made: $TARGET, empty"
}

verify() { [ -d "$TARGET" ] || die 75 "$TARGET is not there"; }
