# defragment RECOVERY ETCDCTL...
RECOVERY=$1
shift
# A member that is in the middle of one for an attempt whose end nobody saw lets this one wait, and is as good after it.
said=$("$@" defrag 2>&1) || die 75 "$said"
note "defragmented: the database holds only what is in use"
