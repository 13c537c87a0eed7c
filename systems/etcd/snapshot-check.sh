# check_snapshot FILE ETCDUTL: prints size, sha256 and status; ends 65 when the file isn't a whole snapshot. Before it
# stands sha256.
# `snapshot status` is no integrity check: it answered 0 for a flipped byte and for a missing trailer. etcd
# appends the SHA-256 of the database to a streamed snapshot, so the last 32 bytes have to be that.
check_snapshot() {
  [ -s "$1" ] || { echo "$1 is empty or not there" >&2; exit 65; }
  size=$(stat -c %s "$1")
  [ "$size" -gt 32 ] || { echo "$1 has only $size bytes" >&2; exit 65; }
  trailer=$(tail -c 32 "$1" | od -An -v -tx1 | tr -d ' \n')
  # At once: each reads the whole file, and from the second on it is in memory. A line each.
  seen=$(
    { sha256 <"$1" | sed 's/^/sha256=/'; } &
    { head -c "$((size - 32))" "$1" | sha256 | sed 's/^/content=/'; } &
    if status=$("$2" snapshot status "$1" --write-out=json); then echo "status=$status"; else echo "failed=$?"; fi
    wait
  )
  fact() { printf '%s\n' "$seen" | sed -n "s/^$1=//p"; }
  [ "$trailer" = "$(fact content)" ] || { echo "the SHA-256 trailer of $1 isn't that of its content" >&2; exit 65; }
  # 137 and above is a signal, out of memory mostly, and no word about the file.
  failed=$(fact failed)
  [ -z "$failed" ] || { [ "$failed" -lt 126 ] || exit "$failed"; exit 65; }
  echo "size=$size"
  echo "sha256=$(fact sha256)"
  echo "status=$(fact status)"
}
