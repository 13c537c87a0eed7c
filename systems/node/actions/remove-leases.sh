# remove-leases RECOVERY COUNT PREFIX... ETCDCTL...
RECOVERY=$1 COUNT=$2
shift 2
prefixes=
while [ "$COUNT" -gt 0 ]; do
  prefixes="$prefixes $1"
  COUNT=$((COUNT - 1))
  shift
done

admit() { forward; }

execute() {
  removed=0
  for prefix in $prefixes; do
    count=$("$@" --command-timeout=20s del --prefix "$prefix") || die 75 "etcd did not take the removal of $prefix"
    removed=$((removed + count))
  done
  did="removed $removed leases of API servers"
}

# Nobody can make them anew before the first API server starts.
verify() {
  for prefix in $prefixes; do
    left=$("$@" --command-timeout=20s get --prefix --keys-only --limit=1 "$prefix") ||
      die 75 "etcd did not tell what is left under $prefix"
    [ -z "$left" ] || die 75 "somebody wrote $left meanwhile"
  done
}
