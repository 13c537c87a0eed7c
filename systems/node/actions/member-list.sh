
# members ETCDCTL...: the list, a member a line: `ID, started or unstarted, NAME, PEER_URLS, CLIENT_URLS, true for a learner`.
members() { "$@" --command-timeout=10s member list 2>&1; }

# member_at LIST PEER_URL: that member's line.
member_at() { printf '%s\n' "$1" | awk -F', ' -v url="$2" '$4 == url'; }

# member_with PEER_URL ETCDCTL...: that member's line; ends the action when etcd does not tell its members.
member_with() {
  url=$1
  shift
  list=$(members "$@") || die 75 "etcd did not tell its members: $(last_line "$list")"
  member_at "$list" "$url"
}

last_line() { printf '%s\n' "$1" | tail -n 1; }
