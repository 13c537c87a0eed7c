# promote-member RECOVERY PEER_URL LIMIT_SECONDS ETCDCTL...: asks until the learner has caught up. Exit 76: it had its time.
RECOVERY=$1 PEER_URL=$2 LIMIT=$3
shift 3

# is_voter LINE: of the member list.
is_voter() {
  case $1 in
    '') die 65 "there is no member at $PEER_URL" ;;
    *', true') return 1 ;;
  esac
}

admit() { :; } # asked below, and etcd may have to be waited for

execute() {
  began=$(seconds) heard=$began
  while :; do
    if list=$(members "$@"); then
      heard=$(seconds)
      line=$(member_at "$list" "$PEER_URL")
      if is_voter "$line"; then break; fi
      why=$("$@" --command-timeout=10s member promote "${line%%,*}" 2>&1) || :
    elif [ "$(($(seconds) - heard))" -ge 20 ]; then
      # Without a quorum, or without this member, there is nothing to wait for here: another may be asked.
      die 75 "etcd did not tell its members: $(last_line "$list")"
    fi
    [ "$(($(seconds) - began))" -lt "$LIMIT" ] ||
      die 76 "the learner at $PEER_URL was not promoted within $LIMIT s: $(last_line "${why:-$list}")"
    sleep 1
  done
  did="promoted: member ${line%%,*} ($PEER_URL) has its vote"
}

verify() {
  line=$(member_with "$PEER_URL" "$@")
  is_voter "$line" || die 75 "the member at $PEER_URL is a learner"
}
