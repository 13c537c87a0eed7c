# promote-member RECOVERY PEER_URL LIMIT_SECONDS ETCDCTL...: asks until the learner has caught up. Exit 76: it had its time.
RECOVERY=$1 PEER_URL=$2 LIMIT=$3
shift 3
began=$(seconds) heard=$began
while :; do
  if list=$(members "$@"); then
    heard=$(seconds)
    line=$(member_at "$list" "$PEER_URL")
    case $line in
      '') die 65 "there is no member at $PEER_URL" ;;
      *', true') ;;
      *)
        note "promoted: member ${line%%,*} ($PEER_URL) has its vote"
        exit 0
        ;;
    esac
    why=$("$@" --command-timeout=10s member promote "${line%%,*}" 2>&1) || :
  elif [ "$(($(seconds) - heard))" -ge 20 ]; then
    # Without a quorum, or without this member, there is nothing to wait for here: another may be asked.
    die 75 "etcd did not tell its members: $(last_line "$list")"
  fi
  [ "$(($(seconds) - began))" -lt "$LIMIT" ] ||
    die 76 "the learner at $PEER_URL was not promoted within $LIMIT s: $(last_line "${why:-$list}")"
  sleep 1
done
