# inventory REVISION PAGE ETCDCTL...: what the keyspace holds at a revision, without holding it in memory. Reads PAGE keys at
# first and then as many as make some MiB: their names, and then the range that they span as etcd encodes it, which need not
# be taken apart. Prints keys=, leased=, content= (SHA-256 over every KeyValue in key order: key, revisions, version, value,
# lease) and one kind=COUNT NAME line per kind of Kubernetes object.
set -eu
umask 077
export LC_ALL=C
REVISION=$1 PAGE=$2
shift 2
work=$(mktemp -d "${REQUORUM_WORK:-/run}/requorum-inventory.XXXXXX")
# The pages hold Secrets. dash runs no EXIT trap when it is ended by a signal.
trap 'rm -rf "$work"' EXIT
trap 'exit 143' HUP INT TERM

# argument BASE64: a key as the argument of a command, in $key. An argument can't hold NUL, and loses a last newline.
argument() {
  key=$(printf '%s' "$1" | base64 -d)
  [ "$(printf '%s' "$key" | base64 -w0)" = "$1" ] || { echo "a key has bytes that an argument can't carry" >&2; exit 64; }
}

hex() { od -An -v -tx1 | tr -d ' \n'; }

# varint NUMBER: as protobuf writes it, in hexadecimal.
varint() {
  rest=$1
  while [ "$rest" -ge 128 ]; do
    printf '%02x' $((rest % 128 + 128))
    rest=$((rest / 128))
  done
  printf '%02x' "$rest"
}

# key_values NUMBER FILE: so many KeyValues out of an etcd RangeResponse: what stands between its header (field 1, which differs
# from member to member) and its count (field 4).
key_values() {
  [ "$(head -c 1 "$2" | hex)" = 0a ] || return 1
  header=$((2 + $(od -An -tu1 -j1 -N1 "$2")))
  ending=20$(varint "$1")
  [ "$(tail -c $((${#ending} / 2)) "$2" | hex)" = "$ending" ] || return 1
  tail -c +$((header + 1)) "$2" | head -c -$((${#ending} / 2))
}

mkfifo "$work/content"
# openssl is six times as fast, where it is there.
if command -v openssl >/dev/null; then openssl dgst -sha256 -r; else sha256sum; fi <"$work/content" >"$work/sum" &
summing=$!
exec 3>"$work/content"
from= keys=0 leased=0 more=yes
while [ "$more" = yes ]; do
  "$@" get --rev="$REVISION" --limit=$((PAGE + 1)) --keys-only --from-key --write-out=json -- "$from" >"$work/page"
  # One line a key. base64 has no braces, so this can't cut a key. What comes before the keys has no bracket; a pattern that
  # looked for the last one took half of all the time.
  sed -e 's/^[^[]*"kvs":\[//' -e t -e d "$work/page" |
    sed -e 's/\],"\(more\|count\)".*$//' -e 's/\]}$//' -e 's/},{/}\n{/g' >"$work/rows"
  found=$(grep -c '' "$work/rows" || true)
  [ "$found" -gt 0 ] || break
  # etcdctl puts the key first (encoding/json keeps the order of mvccpb.KeyValue).
  if [ "$found" -le "$PAGE" ]; then
    more=no
    "$@" get --rev="$REVISION" --from-key --write-out=protobuf -- "$from" >"$work/page"
  else
    # The next page begins with the key that is one too many. No key is empty, and the first range needs its first one.
    [ -n "$from" ] || { argument "$(head -n 1 "$work/rows" | cut -d '"' -f 4)" && from=$key; }
    argument "$(tail -n 1 "$work/rows" | cut -d '"' -f 4)"
    sed -i '$d' "$work/rows"
    found=$PAGE
    "$@" get --rev="$REVISION" --write-out=protobuf -- "$from" "$key" >"$work/page"
    from=$key
  fi
  key_values "$found" "$work/page" >&3 || { echo "etcd answered a range of $found keys in another form than protobuf's" >&2; exit 65; }
  keys=$((keys + found))
  leased=$((leased + $(grep -c '"lease":' "$work/rows" || true)))
  cut -d '"' -f 4 "$work/rows" >>"$work/keys"
  # One page is all that is held, here and by the member: large values make it short.
  size=$(stat -c %s "$work/page")
  if [ "$size" -gt 25165824 ] && [ "$PAGE" -gt 8 ]; then
    PAGE=$((PAGE / 2))
  elif [ "$size" -lt 8388608 ] && [ "$PAGE" -lt 4000 ]; then
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
