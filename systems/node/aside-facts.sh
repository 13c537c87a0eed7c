# aside-facts DATA_DIR BACKUP_DIR RECOVERIES: what earlier runs set aside, fields apart by tabs; changes nothing.
#   aside PATH INODE:MTIME BYTES ODD       ODD is empty, or why it is nothing to be removed
#   recovery NAME OPENED REMOVED ENDED     the first line of each mark, empty without it
set -u
DATA_DIR=$1 BACKUP_DIR=$2 RECOVERIES=$3
tab=$(printf '\t')

etcd_dirs=$(for process in /proc/[0-9]*; do
  name=
  read -r name 2>/dev/null <"$process/comm" || continue
  [ "$name" = etcd ] || continue
  tr '\0' '\n' 2>/dev/null <"$process/cmdline" | sed -n 's/^--data-dir=//p'
done)

odd() {
  if [ -L "$1" ]; then
    echo "it is a symbolic link"
  elif [ "$1" -ef "$DATA_DIR" ]; then
    echo "it is the live data directory"
  elif awk -v path="$1" '$5 == path || index($5, path "/") == 1 { found = 1 } END { exit !found }' /proc/self/mountinfo; then
    echo "it is a mount point, or holds one"
  elif printf '%s\n' "$etcd_dirs" | grep -qxF -e "$1"; then
    echo "an etcd works on it"
  fi
}

aside() {
  [ -e "$1" ] || [ -L "$1" ] || return 0
  bytes=$(du -s --block-size=1 --one-file-system "$1" 2>/dev/null | cut -f 1)
  printf 'aside\t%s\t%s\t%s\t%s\n' "$1" "$(stat -c %i:%Y "$1")" "${bytes:-0}" "$(odd "$1")"
}

mark() { [ ! -e "$1" ] || head -n 1 "$1" | tr "$tab" ' ' | cut -c 1-200; }

for kind in corrupt undone restore late rolledback; do
  for path in "$DATA_DIR.$kind."*; do aside "$path"; done
done
for path in "$BACKUP_DIR"/before-compaction-*; do aside "$path"; done
for path in "$RECOVERIES"/*; do
  [ -d "$path" ] || continue
  aside "$path"
  printf 'recovery\t%s\t%s\t%s\t%s\n' "${path##*/}" "$(mark "$path/opened")" "$(mark "$path/removed")" "$(mark "$path/ended")"
done
