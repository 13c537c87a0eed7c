# compact RECOVERY REVISION ETCDCTL...
RECOVERY=$1 REVISION=$2
shift 2
if said=$("$@" compact --physical "$REVISION" 2>&1); then
  note "compacted: what was before revision $REVISION is gone from the keyspace"
else
  # By an attempt before this one, or by an API server, which compacts every five minutes.
  case $said in
    *"required revision has been compacted"*) note "compacted before, to revision $REVISION or further" ;;
    *) die 75 "$said" ;;
  esac
fi
