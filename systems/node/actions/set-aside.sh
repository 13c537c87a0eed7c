# set-aside RECOVERY FROM TO
RECOVERY=$1 FROM=$2 TO=$3
forward
if [ -e "$TO" ]; then
  [ ! -e "$FROM" ] || die 65 "$FROM and $TO both exist"
  note "set aside before: $FROM is in $TO"
elif [ -e "$FROM" ]; then
  [ -z "$(running etcd "--data-dir=$FROM")" ] || die 75 "etcd still runs on $FROM"
  mv -T "$FROM" "$TO"
  settle "$(dirname "$TO")"
  note "set aside: $FROM is now $TO"
else
  : >"$RECOVERY/data-was-absent"
  settle "$RECOVERY"
  note "nothing to set aside: there is no $FROM"
fi
