# restore RECOVERY FILE SHA256 STAGING DATA_DIR NAME PEER_URL INITIAL_CLUSTER TOKEN BUMP OWNER MODE ETCDUTL
RECOVERY=$1 FILE=$2 SHA256=$3 STAGING=$4 DATA_DIR=$5 NAME=$6 PEER_URL=$7 CLUSTER=$8 TOKEN=$9
shift 9
BUMP=$1 OWNER=$2 MODE=$3 ETCDUTL=$4
ASIDE=$DATA_DIR.corrupt.${STAGING##*.}

admit() {
  forward
  if [ -e "$DATA_DIR" ]; then
    # Between the rename and the receipt we may have been killed.
    if [ -e "$RECOVERY/placing" ] && [ ! -e "$STAGING" ]; then
      found="restored before: $DATA_DIR"
      return
    fi
    # What an etcd made that started late is set aside too. Anything else in the way isn't ours.
    [ -e "$ASIDE" ] || [ -e "$RECOVERY/data-was-absent" ] || die 65 "$DATA_DIR exists already"
    [ -z "$(running etcd "--data-dir=$DATA_DIR")" ] || die 75 "etcd still runs on $DATA_DIR"
  fi
  [ -e "$FILE" ] && [ "$(sha256 <"$FILE")" = "$SHA256" ] || die 65 "$FILE isn't the snapshot of the plan"
}

execute() {
  clear_the_place
  # Half a restore makes an etcd that starts and never gets healthy, so what an earlier attempt left is
  # thrown away: it is our own copy of a snapshot, not anybody's data.
  rm -rf "$STAGING"
  "$ETCDUTL" snapshot restore "$FILE" \
    --name="$NAME" --initial-cluster="$CLUSTER" --initial-cluster-token="$TOKEN" \
    --initial-advertise-peer-urls="$PEER_URL" --data-dir="$STAGING" \
    --bump-revision="$BUMP" --mark-compacted || {
    # What it leaves may be what filled the disk, and the way back needs some room too.
    code=$?
    rm -rf "$STAGING"
    exit "$code"
  }
  chown -R "$OWNER" "$STAGING"
  chmod "$MODE" "$STAGING"
  label_as "$ASIDE" "$STAGING"
  settle "$STAGING"
  : >"$RECOVERY/placing"
  settle "$RECOVERY"
  mv -T "$STAGING" "$DATA_DIR" || die 75 "$DATA_DIR was made anew meanwhile"
  settle "$(dirname "$DATA_DIR")"
  did="restored: $DATA_DIR"
}

# A kubelet that had not noticed yet that the manifest is gone starts a crashed etcd once more, and that makes
# the directory anew after the old one was set aside.
clear_the_place() {
  if [ -e "$DATA_DIR" ]; then
    late=$DATA_DIR.late.$(date -u +%Y%m%dT%H%M%SZ)
    mv -T "$DATA_DIR" "$late"
    note "set aside too: $DATA_DIR was made anew by an etcd that started late, and is now $late"
  fi
  rm -f "$RECOVERY/placing"
}

verify() { [ -s "$DATA_DIR/member/snap/db" ] || die 75 "$DATA_DIR holds no database"; }
