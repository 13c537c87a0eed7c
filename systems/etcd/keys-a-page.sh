# keys_a_page MOST ETCDCTL...: how many keys to ask for at once. Asked for keys alone, etcd reads their values too and drops
# them only when it answers (rangeKeys in its mvcc, 3.5 and 3.6): here about 64 MiB of them, MOST keys at the most.
keys_a_page() (
  most=$1
  shift
  bytes=$("$@" endpoint status --write-out=json | sed -n 's/.*"dbSizeInUse":\([0-9]*\).*/\1/p')
  keys=$("$@" get --from-key --count-only --write-out=fields -- "" | sed -n 's/^"Count" : //p')
  page=$((67108864 * (${keys:-0} + 1) / (${bytes:-0} + 1)))
  [ "$page" -le "$most" ] || page=$most
  [ "$page" -ge 16 ] || page=16
  [ "$most" -ge 16 ] || page=$most
  echo "$page"
)
