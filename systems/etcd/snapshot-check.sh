# sha256: of standard input; by openssl where it is there, which is six times as fast.
sha256() { { openssl dgst -sha256 -r 2>/dev/null || sha256sum; } | cut -d ' ' -f 1; }

# check_snapshot FILE ETCDUTL: prints size, sha256 and status; ends 65 when the file isn't a whole snapshot.
# `snapshot status` is no integrity check: it answered 0 for a flipped byte and for a missing trailer. etcd
# appends the SHA-256 of the database to a streamed snapshot, so the last 32 bytes have to be that.
check_snapshot() {
  [ -s "$1" ] || { echo "$1 is empty or not there" >&2; exit 65; }
  size=$(stat -c %s "$1")
  [ "$size" -gt 32 ] || { echo "$1 has only $size bytes" >&2; exit 65; }
  trailer=$(tail -c 32 "$1" | od -An -v -tx1 | tr -d ' \n')
  content=$(head -c "$((size - 32))" "$1" | sha256)
  [ "$trailer" = "$content" ] || { echo "the SHA-256 trailer of $1 isn't that of its content" >&2; exit 65; }
  # 137 and above is a signal, out of memory mostly, and no word about the file.
  status=$("$2" snapshot status "$1" --write-out=json) || { code=$?; [ "$code" -lt 126 ] || exit "$code"; exit 65; }
  echo "size=$size"
  echo "sha256=$(sha256 <"$1")"
  echo "status=$status"
}
