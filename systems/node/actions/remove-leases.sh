# remove-leases RECOVERY COUNT PREFIX... ETCDCTL...
RECOVERY=$1 COUNT=$2
shift 2
forward
prefixes=
while [ "$COUNT" -gt 0 ]; do
  prefixes="$prefixes $1"
  COUNT=$((COUNT - 1))
  shift
done
removed=0
for prefix in $prefixes; do
  count=$("$@" --command-timeout=20s del --prefix "$prefix") || die 75 "etcd did not take the removal of $prefix"
  removed=$((removed + count))
done
note "removed $removed leases of API servers"
