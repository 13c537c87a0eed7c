# take-back RECOVERY ASIDE DATA_DIR INODE: INODE is empty where there was no data before.
RECOVERY=$1 ASIDE=$2 DATA_DIR=$3 INODE=$4

# is_it DIRECTORY: the one that was set aside.
is_it() { [ -d "$1" ] && [ ! -L "$1" ] && [ "$(stat -c %i "$1")" = "$INODE" ]; }

admit() {
  forward
  if [ -z "$INODE" ]; then
    [ ! -e "$DATA_DIR" ] || die 65 "$DATA_DIR exists, and there was none before"
    found="nothing to take back: there was no $DATA_DIR"
  elif is_it "$DATA_DIR"; then
    found="taken back before: $DATA_DIR"
  else
    is_it "$ASIDE" || die 65 "$ASIDE isn't the directory that was set aside"
    [ ! -e "$DATA_DIR" ] || die 65 "$DATA_DIR exists already"
    [ -z "$(running etcd "--data-dir=$DATA_DIR")" ] || die 75 "etcd still runs on $DATA_DIR"
  fi
}

execute() {
  mv -T "$ASIDE" "$DATA_DIR"
  settle "$(dirname "$DATA_DIR")"
  did="taken back: $DATA_DIR is what it was before the restore"
}

verify() { [ -z "$INODE" ] || is_it "$DATA_DIR" || die 75 "$DATA_DIR isn't the directory that was set aside"; }
