# inventory REVISION PAGE ETCDCTL...: what the keyspace holds at a revision, without holding it in memory.
# Reads pages, PAGE keys at first and then as many as make a few MiB, and prints keys=, leased=, content= (SHA-256 over one JSON line a key: key, value,
# version, revisions, lease, in key order) and one kind=COUNT NAME line per kind of Kubernetes object.
set -eu
umask 077
export LC_ALL=C
REVISION=$1 PAGE=$2
shift 2
work=$(mktemp -d "${REQUORUM_WORK:-/run}/requorum-inventory.XXXXXX")
# The pages hold Secrets. dash runs no EXIT trap when it is ended by a signal.
trap 'rm -rf "$work"' EXIT
trap 'exit 143' HUP INT TERM
mkfifo "$work/lines"
# openssl is six times as fast, where it is there.
{ openssl dgst -sha256 -r 2>/dev/null || sha256sum; } <"$work/lines" >"$work/sum" &
summing=$!
exec 3>"$work/lines"
from= keys=0 leased=0 first=yes
while :; do
  "$@" get --rev="$REVISION" --limit="$PAGE" --from-key --write-out=json -- "$from" >"$work/page"
  # One line a key. base64 has no braces, so this can't cut a value. What comes before the keys has no bracket; a
  # pattern that looked for the last one took half of all the time.
  sed -e 's/^[^[]*"kvs":\[//' -e t -e d "$work/page" |
    sed -e 's/\],"\(more\|count\)".*$//' -e 's/\]}$//' -e 's/},{/}\n{/g' >"$work/rows"
  found=$(grep -c '' "$work/rows" || true)
  [ "$found" -gt 0 ] || break
  # A page begins with the last key of the one before: an argument can't hold the NUL that means "after".
  if [ "$first" = yes ]; then first=no; else sed -i 1d "$work/rows"; fi
  keys=$((keys + $(grep -c '' "$work/rows" || true)))
  leased=$((leased + $(grep -c '"lease":' "$work/rows" || true)))
  cat "$work/rows" >&3
  # etcdctl puts the key first (encoding/json keeps the order of mvccpb.KeyValue). A pattern over whole rows took
  # half of all the time where values are large.
  cut -d '"' -f 2,4 "$work/rows" | sed 's/^key"//' >>"$work/keys"
  [ "$found" -eq "$PAGE" ] || break
  last=$(tail -n 1 "$work/keys")
  from=$(printf '%s' "$last" | base64 -d)
  [ "$(printf '%s' "$from" | base64 -w0)" = "$last" ] || { echo "a key has bytes that an argument can't carry" >&2; exit 64; }
  # One page is all that is held, here and by the member: large values make it short.
  size=$(stat -c %s "$work/page")
  if [ "$size" -gt 8388608 ] && [ "$PAGE" -gt 8 ]; then
    PAGE=$((PAGE / 2))
  elif [ "$size" -lt 2097152 ] && [ "$PAGE" -lt 4000 ]; then
    PAGE=$((PAGE * 2))
  fi
done
exec 3>&-
wait "$summing"
echo "keys=$keys"
echo "leased=$leased"
echo "content=$(cut -d ' ' -f 1 "$work/sum")"
# Kinds are the first parts of the keys, which are base64: reading the keys once more as text would load every
# value with them.
touch "$work/keys"
awk '
  BEGIN {
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    for (i = 0; i < 64; i++) digit[substr(alphabet, i + 1, 1)] = i
    for (i = 32; i < 127; i++) letter[i] = sprintf("%c", i)
  }
  {
    text = ""; slashes = 0
    for (i = 1; i < length($0) && slashes < 5; i += 4) {
      bits = 0; bytes = 3
      for (j = 0; j < 4; j++) {
        char = substr($0, i + j, 1)
        if (char == "=") bytes--
        bits = bits * 64 + digit[char]
      }
      split("65536 256 1", place, " ")
      for (j = 1; j <= bytes; j++) {
        char = letter[int(bits / place[j]) % 256]
        if (char == "/") slashes++
        text = text char
      }
    }
    parts = split(text, part, "/")
    if (part[2] != "registry" || parts < 4) next
    kind = part[3]
    if (kind == "masterleases" || kind == "ranges") next # bookkeeping of API servers, no kinds of objects
    if (kind ~ /\./ || kind == "services") kind = kind "/" part[4]
    count[kind]++
  }
  END { for (kind in count) print "kind=" count[kind] " " kind }' "$work/keys" | sort -k2
