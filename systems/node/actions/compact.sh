# compact RECOVERY REVISION ETCDCTL...
RECOVERY=$1 REVISION=$2
shift 2

# compacted ETCDCTL...: whether what was before the revision is gone.
compacted() {
  [ "$REVISION" -gt 1 ] || return 0 # there is nothing before the first
  case $("$@" get --rev="$((REVISION - 1))" --limit=1 --keys-only / 2>&1) in
    *"required revision has been compacted"*) return 0 ;;
    *) return 1 ;;
  esac
}

# By an attempt before this one, or by an API server, which compacts every five minutes.
admit() { if compacted "$@"; then found="compacted before, to revision $REVISION or further"; fi; }

execute() {
  said=$("$@" compact --physical "$REVISION" 2>&1) || compacted "$@" || die 75 "$said"
  did="compacted: what was before revision $REVISION is gone from the keyspace"
}

verify() { compacted "$@" || die 75 "what was before revision $REVISION can still be read"; }
