# kind-counts SINCE MOST ETCDCTL...: how many objects of each kind there are, and how many of them were created
# after revision SINCE. Keys only, page by page at one revision; prints revision= and kind=NOW CREATED NAME lines.
# The same keys count as in inventory.sh, without what lies in a canary's namespace. MOST is how many keys a page has at
# the most. Before it stands keys_a_page.
set -eu
umask 077
SINCE=$1
PAGE=$2
shift 2
PAGE=$(keys_a_page "$PAGE" "$@")
work=$(mktemp -d /run/requorum-counts.XXXXXX)
trap 'rm -rf "$work"' EXIT
trap 'exit 143' HUP INT PIPE TERM
from=/registry/ revision=0 first=yes
: >"$work/keys"
while :; do
  # "0" comes after "/": all keys that begin with /registry/.
  "$@" get --rev="$revision" --limit="$PAGE" --keys-only --write-out=fields -- "$from" /registry0 >"$work/page"
  [ "$revision" != 0 ] || revision=$(sed -n 's/^"Revision" : //p' "$work/page" | head -n 1)
  # Keys are quoted as Go quotes them; those of Kubernetes have nothing to quote.
  awk '/^"Key" : / { key = substr($0, 10, length($0) - 10) }
       /^"CreateRevision" : / { print $3, key }' "$work/page" >"$work/rows"
  found=$(grep -c '' "$work/rows" || true)
  [ "$found" -gt 0 ] || break
  # A page begins with the last key of the one before: an argument can't hold the NUL that means "after".
  if [ "$first" = yes ]; then first=no; else sed -i 1d "$work/rows"; fi
  cat "$work/rows" >>"$work/keys"
  [ "$found" -eq "$PAGE" ] || break
  from=$(tail -n 1 "$work/keys" | cut -d ' ' -f 2-)
  case $from in *\\*) echo "a key can't be passed as an argument: $from" >&2; exit 64 ;; esac
done
echo "revision=$revision"
awk -v since="$SINCE" '
  {
    created = $1
    sub(/^[0-9]+ /, "")
    parts = split($0, part, "/")
    if (part[2] != "registry" || parts < 4) next
    for (i = 4; i <= parts; i++) if (index(part[i], "requorum-canary-") == 1) next
    kind = part[3]
    if (kind == "masterleases" || kind == "ranges") next
    if (kind ~ /\./ || kind == "services") kind = kind "/" part[4]
    now[kind]++
    if (created + 0 > since + 0) young[kind]++
  }
  END { for (kind in now) print "kind=" now[kind] " " young[kind] + 0 " " kind }' "$work/keys" | sort -k3
