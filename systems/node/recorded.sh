# recorded RECOVERIES: what recoveries left on this node, the newest 20 that have a record, one line each: name, the
# record, its marks and the last line of done.log, all but the name in base64. A mark is NAME=BASE64, blanks between.
set -eu
DIR=$1
[ -d "$DIR" ] || exit 0
left=20
for record in $(ls -1 "$DIR" | sort -r); do
  here=$DIR/$record
  [ -e "$here/record.json" ] && [ "$left" -gt 0 ] || continue
  left=$((left - 1))
  printf '%s head=%s' "$record" "$(head -c 100000 "$here/record.json" | base64 -w0)"
  for mark in opened removed undoing ended; do
    [ ! -e "$here/$mark" ] || printf ' %s=%s' "$mark" "$(head -c 1000 "$here/$mark" | base64 -w0)"
  done
  [ ! -e "$here/done.log" ] || printf ' done=%s' "$(tail -n 1 "$here/done.log" | head -c 1000 | base64 -w0)"
  printf '\n'
done
