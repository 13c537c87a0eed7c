# add-learner RECOVERY NAME PEER_URL ETCDCTL...
RECOVERY=$1 NAME=$2 PEER_URL=$3
shift 3
list=$(members "$@") || die 75 "etcd did not tell its members: $(last_line "$list")"
line=$(member_at "$list" "$PEER_URL")
if [ -n "$line" ]; then
  note "added before: $NAME is member ${line%%,*}"
  exit 0
fi
# Refused until all voters have been connected for five seconds.
said=$("$@" --command-timeout=20s member add "$NAME" --learner --peer-urls="$PEER_URL" 2>&1) ||
  die 75 "etcd did not take $NAME as a learner: $(last_line "$said")"
note "added: $NAME as a learner ($PEER_URL)"
