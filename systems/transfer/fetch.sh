# fetch FILE SHA256 [zstd|gzip SHA256]: gets the file by the request on standard input, under a partial name until it is
# whole; where it comes packed, the first digest is that of what comes, the second that of the file.
# Ends 10 when it is there: a step that ended with 0 is never done again, and what was removed meanwhile has to be.
# Ends 75 when the store did not give it, 65 when it is not what it should be, 74 when it can't be kept, 69 when this node
# can't unpack it.
FILE=$1 SHA256=$2 BY=${3-}
directory=$(dirname "$FILE")
mkdir -p "$directory"
chmod 700 "$directory"
rm -f "$FILE".*.partial
partial=$FILE.$$.partial
[ -z "$BY" ] || command -v "$BY" >/dev/null || exit 69
is() { echo "$2  $1" | sha256sum --check --status -; }
fail() {
  rm -f "$FILE".*.partial
  exit "$1"
}
ask --output "$partial"
told "$partial"
case $failed-$status in
0-2*) ;;
23-*) fail 74 ;;
*) fail 75 ;;
esac
is "$partial" "$SHA256" || fail 65
if [ -n "$BY" ]; then
  packed=$partial partial=$FILE.$$.unpacked.partial
  "$BY" -dc <"$packed" >"$partial" || fail 74 # its SHA-256 is right: what fails is the disk
  rm -f "$packed"
  is "$partial" "$4" || fail 65
fi
sync -f "$partial" 2>/dev/null || sync
mv -T "$partial" "$FILE"
exit 10
