# inventory REVISION MOST ETCDCTL...: what the keyspace holds at a revision, without holding it in memory and without reading all
# of it through etcd's API. Prints keys=, leased=, metadata= (SHA-256 over every key with its revisions, version and lease, in
# key order), sample= (SHA-256 over some values and what belongs to them) and one kind=COUNT NAME line per kind of Kubernetes
# object. MOST is how many keys a page has at the most. Before it stand sha256 and keys_a_page.
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
trap 'exit 143' HUP INT PIPE TERM

# argument BASE64: a key as the argument of a command, in $key. An argument can't hold NUL, and loses a last newline.
argument() {
  key=$(printf '%s' "$1" | base64 -d)
  [ "$(printf '%s' "$key" | base64 -w0)" = "$1" ]
}

mkfifo "$work/lines" "$work/values"
sha256 <"$work/lines" >"$work/metadata" &
sha256 <"$work/values" >"$work/sample" &
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

# Of the values 8 stretches of 32 keys, from the first key on and evenly over all. Who counts again has the same keys, and
# takes the same: so a stretch that would begin with a key that no argument can carry is left out. What etcd answers begins
# with a header, field 1, that differs from member to member and from moment to moment.
awk -v keys="$keys" 'BEGIN { step = keys > 256 ? keys / 8 : 32 } NR > at { print; at += step }' "$work/keys" >"$work/starts"
while read -r start; do
  argument "$start" || continue
  "$@" get --rev="$REVISION" --limit=32 --from-key --write-out=protobuf -- "$key" >"$work/page" </dev/null
  [ "$(head -c 1 "$work/page" | od -An -tx1)" = " 0a" ] || { echo "etcd answered in another form than protobuf's" >&2; exit 65; }
  tail -c +$((3 + $(od -An -tu1 -j1 -N1 "$work/page"))) "$work/page" >&4
done <"$work/starts"
exec 3>&- 4>&-
wait
echo "keys=$keys"
echo "leased=$leased"
echo "metadata=$(cat "$work/metadata")"
echo "sample=$(cat "$work/sample")"
# Kinds are the parts after /registry, and the keys are base64: of each as much is read as it takes, three bytes at a time.
awk '
  BEGIN {
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    for (i = 0; i < 4096; i++) bits[substr(alphabet, int(i / 64) + 1, 1) substr(alphabet, i % 64 + 1, 1)] = i
    for (i = 32; i < 127; i++) letter[i] = sprintf("%c", i)
  }
  substr($0, 1, 12) == "L3JlZ2lzdHJ5" { # /registry
    text = ""; parts = 1
    for (at = 13; at < length($0); at += 4) {
      three = substr($0, at, 4)
      gsub(/=/, "A", three)
      high = bits[substr(three, 1, 2)]; low = bits[substr(three, 3, 2)]
      text = text letter[int(high / 16)] letter[high % 16 * 16 + int(low / 256)] letter[low % 256]
      parts = split(text, part, "/")
      # The kind and, where it is of a group, its name: each has ended when there is a slash after it.
      if (parts > 3 || (parts == 3 && part[2] !~ /\./ && part[2] != "services")) break
    }
    if (part[1] != "" || parts < 3) next
    kind = part[2]
    if (kind == "masterleases" || kind == "ranges") next # bookkeeping of API servers, no kinds of objects
    if (kind ~ /\./ || kind == "services") kind = kind "/" part[3]
    count[kind]++
  }
  END { for (kind in count) print "kind=" count[kind] " " kind }' "$work/keys" | sort -k2
