# plant-broken-log RECOVERY PATH ASIDE OWNER MODE
RECOVERY=$1 TARGET=$2 ASIDE=$3 OWNER=$4 MODE=$5

admit() {
  forward
  [ -e "$TARGET" ] || return 0
  [ -e "$RECOVERY/etcd-started" ] || die 65 "$TARGET exists already"
  found="planted before: $TARGET"
}

execute() {
  # What an attempt before this one left is ours, and half of it would be an empty log.
  rm -rf "$TARGET.planting"
  mkdir -p "$TARGET.planting/member/wal"
  # A frame of eight bytes, and a record whose checksum isn't its data's.
  printf '\010\000\000\000\000\000\000\000\010\001\020\052\032\002xx' \
    >"$TARGET.planting/member/wal/0000000000000000-0000000000000000.wal"
  chown -R "$OWNER" "$TARGET.planting"
  chmod "$MODE" "$TARGET.planting"
  label_as "$ASIDE" "$TARGET.planting"
  settle "$TARGET.planting"
  # The way back ends an etcd that was started on this, and looks for the mark.
  : >"$RECOVERY/etcd-started"
  settle "$RECOVERY"
  mv -T "$TARGET.planting" "$TARGET"
  settle "$(dirname "$TARGET")"
  did="planted: a log in $TARGET that etcd can't read"
}

verify() { [ -d "$TARGET/member/wal" ] || die 75 "$TARGET holds no log"; }
