# remove-member RECOVERY ID PEER_URL ETCDCTL...: the URL is for people; the member is known by its ID.
RECOVERY=$1 ID=$2 PEER_URL=$3
shift 3
list=$(members "$@") || die 75 "etcd did not tell its members: $(last_line "$list")"
if ! printf '%s\n' "$list" | grep -q "^$ID, "; then
  note "no member $ID at $PEER_URL: it was removed before"
  exit 0
fi
said=$("$@" --command-timeout=20s member remove "$ID" 2>&1) || die 75 "etcd did not remove $ID: $(last_line "$said")"
note "removed: member $ID ($PEER_URL)"
