# put-back RECOVERY ASIDE DATA_DIR UNDONE
RECOVERY=$1 ASIDE=$2 DATA_DIR=$3 UNDONE=$4
[ -d "$RECOVERY" ] || exit 0
if [ -e "$ASIDE" ] || [ -e "$RECOVERY/data-was-absent" ]; then
  [ -z "$(running etcd "--data-dir=$DATA_DIR")" ] || die 75 "etcd still runs on $DATA_DIR"
  if [ -e "$DATA_DIR" ]; then
    [ ! -e "$UNDONE" ] || die 65 "$DATA_DIR and $UNDONE both exist"
    mv -T "$DATA_DIR" "$UNDONE"
  fi
  [ ! -e "$ASIDE" ] || mv -T "$ASIDE" "$DATA_DIR"
  settle "$(dirname "$DATA_DIR")"
  note "put back: $DATA_DIR is what it was"
else
  note "nothing to put back: $DATA_DIR was never set aside"
fi
