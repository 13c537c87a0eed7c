# fetch FILE SHA256 [zstd|gzip SHA256]: gets the file by the request on standard input, under a partial name until it is
# whole; where it comes packed, the first digest is that of what comes, the second that of the file.
# What was fetched before the connection broke, or this was ended, is not fetched again.
# Ends 10 when it is there: a step that ended with 0 is never done again, and what was removed meanwhile has to be.
# Ends 75 when the store did not give it, 65 when it is not what it should be, 74 when it can't be kept, 69 when this node
# can't unpack it.
FILE=$1 SHA256=$2 BY=${3-}
directory=$(dirname "$FILE")
mkdir -p "$directory"
chmod 700 "$directory"
# Of this content and no other: what came of it is there still when a connection broke, or this script was ended.
partial=$FILE.$(printf %.16s "$SHA256").partial
for other in "$FILE".*.partial; do [ "$other" = "$partial" ] || rm -f "$other"; done
[ -z "$BY" ] || command -v "$BY" >/dev/null || exit 69
is() { [ "$(sha256 <"$1")" = "$2" ]; }
fail() {
  rm -f "$FILE".*.partial
  exit "$1"
}
have() { stat -c %s "$partial" 2>/dev/null || echo 0; }
resumed=
# A connection that broke (18, 28, 52, 55, 56, 92) is made again as long as more comes by each.
while :; do
  had=$(have)
  [ "$had" = 0 ] || resumed=yes
  ask --fail --continue-at - --output "$partial"
  case $failed in 18 | 28 | 52 | 55 | 56 | 92) [ "$(have)" -gt "$had" ] || break ;; *) break ;; esac
done
status=$(cat "$scratch/status")
case $failed-$status in
22-416) echo 0 >"$scratch/failed" && echo 206 >"$scratch/status" ;; # all of it was there
22-*)
  # Why it was refused stands in a body that has no place in the file.
  ask --range 0-4095 --output "$scratch/body"
  echo "$status" >"$scratch/status"
  ;;
esac
told "$scratch/body"
case $failed-$status in
0-2*) ;;
23-*) fail 74 ;;
33-*) fail 75 ;; # the store gives no part of an object
*) exit 75 ;;
esac
# What was put together of several answers and isn't right is fetched once more, in one piece.
is "$partial" "$SHA256" || { [ -z "$resumed" ] || fail 75; fail 65; }
if [ -n "$BY" ]; then
  packed=$partial partial=$FILE.$$.unpacked.partial
  "$BY" -dc <"$packed" >"$partial" || fail 74 # its SHA-256 is right: what fails is the disk
  rm -f "$packed"
  is "$partial" "$4" || fail 65
fi
sync -f "$partial" 2>/dev/null || sync
mv -T "$partial" "$FILE"
exit 10
