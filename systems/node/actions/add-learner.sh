# add-learner RECOVERY NAME PEER_URL ETCDCTL...
RECOVERY=$1 NAME=$2 PEER_URL=$3
shift 3

admit() {
  line=$(member_with "$PEER_URL" "$@")
  [ -z "$line" ] || found="added before: $NAME is member ${line%%,*}"
}

execute() {
  # Refused until all voters have been connected for five seconds.
  said=$("$@" --command-timeout=20s member add "$NAME" --learner --peer-urls="$PEER_URL" 2>&1) ||
    die 75 "etcd did not take $NAME as a learner: $(last_line "$said")"
  did="added: $NAME as a learner ($PEER_URL)"
}

verify() {
  line=$(member_with "$PEER_URL" "$@")
  [ -n "$line" ] || die 75 "$NAME is not among the members"
}
