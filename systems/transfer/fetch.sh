# fetch FILE SHA256: gets the file by the request on standard input, under a partial name until it is whole.
# Ends 10 when it is there: a step that ended with 0 is never done again, and what was removed meanwhile has to be.
# Ends 75 when the store did not give it, 65 when it is not what it should be, 74 when it can't be kept.
FILE=$1 SHA256=$2
directory=$(dirname "$FILE")
mkdir -p "$directory"
chmod 700 "$directory"
rm -f "$FILE".*.partial
partial=$FILE.$$.partial
ask --output "$partial"
told "$partial"
case $failed-$status in
0-2*) ;;
23-*)
  rm -f "$partial"
  exit 74
  ;;
*)
  rm -f "$partial"
  exit 75
  ;;
esac
if ! echo "$SHA256  $partial" | sha256sum --check --status -; then
  rm -f "$partial"
  exit 65
fi
sync -f "$partial" 2>/dev/null || sync
mv -T "$partial" "$FILE"
exit 10
