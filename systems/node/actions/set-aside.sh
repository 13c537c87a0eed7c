# set-aside RECOVERY FROM TO
RECOVERY=$1 FROM=$2 TO=$3

admit() {
  forward
  if [ -e "$TO" ]; then
    [ ! -e "$FROM" ] || die 65 "$FROM and $TO both exist"
    found="set aside before: $FROM is in $TO"
  elif [ -e "$FROM" ]; then
    [ -z "$(running etcd "--data-dir=$FROM")" ] || die 75 "etcd still runs on $FROM"
  fi
}

execute() {
  if [ -e "$FROM" ]; then
    mv -T "$FROM" "$TO"
    settle "$(dirname "$TO")"
    did="set aside: $FROM is now $TO"
  else
    : >"$RECOVERY/data-was-absent"
    settle "$RECOVERY"
    did="nothing to set aside: there is no $FROM"
  fi
}

verify() { [ -e "$TO" ] || [ -e "$RECOVERY/data-was-absent" ] || die 75 "$TO is not there"; }
