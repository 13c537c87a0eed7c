# inventory REVISION MOST ETCDCTL...: what the keyspace holds at a revision, without holding it in memory and without reading all
# of it through etcd's API. Prints keys=, leased=, metadata= (SHA-256 over every key with its revisions, version and lease, in
# key order), sample= (SHA-256 over some values and what belongs to them) and one kind=COUNT NAME line per kind of Kubernetes
# object. MOST is how many keys a page has at the most. Before it stands keys_a_page.
set -eu
umask 077
export LC_ALL=C
REVISION=$1
PAGE=$2
shift 2
PAGE=$(keys_a_page "$PAGE" "$@")
work=$(mktemp -d "${REQUORUM_WORK:-/run}/requorum-inventory.XXXXXX")
# The sample holds Secrets. dash runs no EXIT trap when it is ended by a signal.
trap 'rm -rf "$work"' EXIT
trap 'exit 143' HUP INT TERM

# argument BASE64: a key as the argument of a command, in $key. An argument can't hold NUL, and loses a last newline.
argument() {
  key=$(printf '%s' "$1" | base64 -d)
  [ "$(printf '%s' "$key" | base64 -w0)" = "$1" ]
}
# openssl is six times as fast, where it is there.
digest() { if command -v openssl >/dev/null; then openssl dgst -sha256 -r; else sha256sum; fi | cut -d ' ' -f 1; }

mkfifo "$work/lines" "$work/values"
digest <"$work/lines" >"$work/metadata" &
digest <"$work/values" >"$work/sample" &
exec 3>"$work/lines" 4>"$work/values"
key= keys=0 leased=0 first=yes
: >"$work/keys"
while :; do
  "$@" get --rev="$REVISION" --limit="$PAGE" --keys-only --from-key --write-out=json -- "$key" >"$work/page"
  # One line a key. base64 has no braces, so this can't cut one. What comes before the keys has no bracket.
  sed -e 's/^[^[]*"kvs":\[//' -e t -e d "$work/page" |
    sed -e 's/\],"\(more\|count\)".*$//' -e 's/\]}$//' -e 's/},{/}\n{/g' >"$work/rows"
  found=$(grep -c '' "$work/rows" || true)
  [ "$found" -gt 0 ] || break
  # A page begins with the last key of the one before: an argument can't hold the NUL that means "after".
  if [ "$first" = yes ]; then first=no; else sed -i 1d "$work/rows"; fi
  keys=$((keys + $(grep -c '' "$work/rows" || true)))
  leased=$((leased + $(grep -c '"lease":' "$work/rows" || true)))
  cat "$work/rows" >&3
  # etcdctl puts the key first (encoding/json keeps the order of mvccpb.KeyValue).
  cut -d '"' -f 4 "$work/rows" >>"$work/keys"
  [ "$found" -eq "$PAGE" ] || break
  argument "$(tail -n 1 "$work/keys")" || { echo "a key has bytes that an argument can't carry" >&2; exit 64; }
done

# Of the values 16 stretches of 16 keys, from the first key on and evenly over all. Who counts again has the same keys, and
# takes the same: so a stretch that would begin with a key that no argument can carry is left out. What etcd answers begins
# with a header, field 1, that differs from member to member and from moment to moment.
awk -v keys="$keys" 'BEGIN { step = keys > 256 ? keys / 16 : 16 } NR > at { print; at += step }' "$work/keys" >"$work/starts"
while read -r start; do
  argument "$start" || continue
  "$@" get --rev="$REVISION" --limit=16 --from-key --write-out=protobuf -- "$key" >"$work/page" </dev/null
  [ "$(head -c 1 "$work/page" | od -An -tx1)" = " 0a" ] || { echo "etcd answered in another form than protobuf's" >&2; exit 65; }
  tail -c +$((3 + $(od -An -tu1 -j1 -N1 "$work/page"))) "$work/page" >&4
done <"$work/starts"
exec 3>&- 4>&-
wait
echo "keys=$keys"
echo "leased=$leased"
echo "metadata=$(cat "$work/metadata")"
echo "sample=$(cat "$work/sample")"
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
