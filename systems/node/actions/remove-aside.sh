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

# refuse_unlisted PATH SEEN: unless it is what a person saw, or the rest of it that an attempt before this one left.
refuse_unlisted() {
  ours "$1" || die 65 "$1 has no name that a recovery gives"
  [ ! "$1" -ef "$RECOVERY" ] || die 65 "$1 belongs to this run"
  going=$1.removing
  if [ -e "$1" ] || [ -L "$1" ]; then
    refuse_what_lives "$1"
    now=$(stat -c %i:%Y "$1")
    [ "$now" = "$2" ] || die 65 "$1 isn't what was seen: $now, not $2"
    [ ! -e "$going" ] || die 65 "$1 and $going both exist"
  elif [ -e "$going" ]; then
    refuse_what_lives "$going"
  fi
}

remove() {
  going=$1.removing
  if [ -e "$1" ]; then
    # Half of it under its own name would be taken for all of it.
    mv -T "$1" "$going"
    settle "$(dirname "$1")"
  elif [ ! -e "$going" ]; then
    note "gone already: $1"
    return
  fi
  rm -rf --one-file-system "$going"
  settle "$(dirname "$1")"
  note "removed: $1"
}

# The name may be that of a rest, which an earlier run left in the middle of a removal.
admit() {
  while [ $# -gt 1 ]; do
    refuse_unlisted "${1%.removing}" "$2"
    shift 2
  done
}

execute() {
  did="removed what was listed: $(($# / 2))"
  while [ $# -gt 1 ]; do
    # Again: another of the list may have taken a while.
    refuse_unlisted "${1%.removing}" "$2"
    remove "${1%.removing}"
    shift 2
  done
}

verify() {
  while [ $# -gt 1 ]; do
    [ ! -e "${1%.removing}" ] && [ ! -e "${1%.removing}.removing" ] || die 75 "${1%.removing} is still there"
    shift 2
  done
}
