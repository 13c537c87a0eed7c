# remove-aside RECOVERY DATA_DIR BACKUP_DIR RECOVERIES [PATH SEEN]...: SEEN is inode:mtime, as a person saw it.
RECOVERY=$1 DATA_DIR=$2 BACKUP_DIR=$3 RECOVERIES=$4
shift 4
time='[0-9]\{8\}T[0-9]\{6\}Z'

# named PREFIX PATTERN PATH: whether PATH is PREFIX and a rest that the pattern matches whole.
named() {
  case $3 in "$1"*) ;; *) return 1 ;; esac
  printf '%s' "${3#"$1"}" | grep -qx -e "$2"
}

# ours PATH: has a name that only runs of ours give.
ours() {
  named "$DATA_DIR" "\.\(corrupt\|undone\|restore\|late\|rolledback\)\.$time" "$1" ||
    named "$BACKUP_DIR/" "before-compaction-$time-[0-9a-f]\{8\}\.db" "$1" ||
    named "$RECOVERIES/" "$time-[0-9a-f]\{8\}" "$1"
}

refuse_what_lives() {
  [ ! -L "$1" ] || die 65 "$1 is a symbolic link"
  [ ! "$1" -ef "$DATA_DIR" ] || die 65 "$1 is the live data directory"
  ! awk -v path="$1" '$5 == path || index($5, path "/") == 1 { found = 1 } END { exit !found }' /proc/self/mountinfo ||
    die 65 "$1 is a mount point, or holds one"
  [ -z "$(running etcd "--data-dir=$1")" ] || die 65 "an etcd works on $1"
}

remove() {
  path=$1 seen=$2 going=$1.removing
  ours "$path" || die 65 "$path has no name that a recovery gives"
  [ ! "$path" -ef "$RECOVERY" ] || die 65 "$path belongs to this run"
  if [ -e "$path" ] || [ -L "$path" ]; then
    refuse_what_lives "$path"
    now=$(stat -c %i:%Y "$path")
    [ "$now" = "$seen" ] || die 65 "$path isn't what was seen: $now, not $seen"
    [ ! -e "$going" ] || die 65 "$path and $going both exist"
    # Half of it under its own name would be taken for all of it.
    mv -T "$path" "$going"
    settle "$(dirname "$path")"
  elif [ ! -e "$going" ]; then
    note "gone already: $path"
    return
  fi
  refuse_what_lives "$going"
  rm -rf --one-file-system "$going"
  settle "$(dirname "$path")"
  note "removed: $path"
}

count=0
while [ $# -gt 1 ]; do
  # A rest that an earlier run left in the middle of a removal.
  remove "${1%.removing}" "$2"
  count=$((count + 1))
  shift 2
done
note "removed what was listed: $count"
