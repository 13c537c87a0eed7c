# pack FILE: packs it beside itself with what is there, zstd before gzip, and says with what, how large, and its SHA-256.
# Ends 10 when it is there: a step that ended with 0 is never done again, and what was removed meanwhile has to be. Ends 74
# when it can't be packed, mostly for want of room.
umask 077
if command -v zstd >/dev/null; then
  by=zstd end=zst
  pack() { zstd --quiet --force --threads=1 -3 "$1" -o "$2"; }
else
  by=gzip end=gz
  pack() { gzip -c -- "$1" >"$2"; }
fi
packed=$(dirname "$1")/.$(basename "$1").$end
if [ ! -e "$packed" ]; then
  # gzip leaves what it wrote when the disk is full.
  pack "$1" "$packed.partial" || { rm -f "$packed.partial"; exit 74; }
  mv -T "$packed.partial" "$packed"
fi
echo "by=$by"
echo "path=$packed"
echo "size=$(stat -c %s "$packed")"
echo "sha256=$(sha256 <"$packed")"
exit 10
