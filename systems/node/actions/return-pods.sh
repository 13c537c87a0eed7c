# return-pods RECOVERY FROM TO STARTED [POD SHA256]...
RECOVERY=$1 FROM=$2 TO=$3 STARTED=$4
shift 4

# is_old FILE SHA256
is_old() { [ -e "$1" ] && echo "$2  $1" | sha256sum --check --status -; }

admit() {
  forward
  while [ $# -gt 1 ]; do
    kept=$FROM/$1.yaml target=$TO/$1.yaml
    is_old "$kept" "$2" || die 65 "$kept isn't what was kept"
    [ ! -e "$target" ] || is_old "$target" "$2" || die 65 "$target is neither gone nor what was kept"
    shift 2
  done
}

execute() {
  returned=
  while [ $# -gt 1 ]; do
    if [ "$1" = etcd ]; then
      # From here on the etcd that runs is the old one: the way back has to end it, whatever its manifest says.
      : >"$STARTED"
      settle "$RECOVERY"
    fi
    [ -e "$TO/$1.yaml" ] || copy_whole "$FROM/$1.yaml" "$TO/$1.yaml"
    returned="$returned $1"
    shift 2
  done
  did="manifests as they were:$returned"
}

verify() {
  while [ $# -gt 1 ]; do
    is_old "$TO/$1.yaml" "$2" || die 75 "$TO/$1.yaml isn't what was kept"
    shift 2
  done
}
