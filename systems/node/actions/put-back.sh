# put-back RECOVERY ASIDE DATA_DIR UNDONE
RECOVERY=$1 ASIDE=$2 DATA_DIR=$3 UNDONE=$4

admit() {
  [ -d "$RECOVERY" ] || exit 0 # nothing was ever done here
  if [ ! -e "$ASIDE" ] && [ ! -e "$RECOVERY/data-was-absent" ]; then
    found="nothing to put back: $DATA_DIR was never set aside"
    return
  fi
  [ -z "$(running etcd "--data-dir=$DATA_DIR")" ] || die 75 "etcd still runs on $DATA_DIR"
  [ ! -e "$DATA_DIR" ] || [ ! -e "$UNDONE" ] || die 65 "$DATA_DIR and $UNDONE both exist"
}

execute() {
  [ ! -e "$DATA_DIR" ] || mv -T "$DATA_DIR" "$UNDONE"
  [ ! -e "$ASIDE" ] || mv -T "$ASIDE" "$DATA_DIR"
  settle "$(dirname "$DATA_DIR")"
  did="put back: $DATA_DIR is what it was"
}

verify() { [ ! -e "$ASIDE" ] || die 75 "$ASIDE is still there"; }
