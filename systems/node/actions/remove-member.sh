# remove-member RECOVERY ID PEER_URL ETCDCTL...: the URL is for people; the member is known by its ID.
RECOVERY=$1 ID=$2 PEER_URL=$3
shift 3

# is_gone ETCDCTL...: fails when the member is there, and ends the action when etcd does not tell.
is_gone() {
  list=$(members "$@") || die 75 "etcd did not tell its members: $(last_line "$list")"
  ! printf '%s\n' "$list" | grep -q "^$ID, "
}

admit() { if is_gone "$@"; then found="no member $ID at $PEER_URL: it was removed before"; fi; }

execute() {
  said=$("$@" --command-timeout=20s member remove "$ID" 2>&1) || die 75 "etcd did not remove $ID: $(last_line "$said")"
  did="removed: member $ID ($PEER_URL)"
}

verify() { is_gone "$@" || die 75 "member $ID is still in the list"; }
