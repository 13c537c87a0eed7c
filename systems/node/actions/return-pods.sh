# return-pods RECOVERY FROM TO STARTED [POD SHA256]...
RECOVERY=$1 FROM=$2 TO=$3 STARTED=$4
shift 4
forward
is_old() { [ -e "$1" ] && echo "$2  $1" | sha256sum --check --status -; }
returned=
while [ $# -gt 1 ]; do
  kept=$FROM/$1.yaml target=$TO/$1.yaml
  is_old "$kept" "$2" || die 65 "$kept isn't what was kept"
  if [ "$1" = etcd ]; then
    # From here on the etcd that runs is the old one: the way back has to end it, whatever its manifest says.
    : >"$STARTED"
    settle "$RECOVERY"
  fi
  if [ -e "$target" ]; then
    is_old "$target" "$2" || die 65 "$target is neither gone nor what was kept"
  else
    copy_whole "$kept" "$target"
  fi
  returned="$returned $1"
  shift 2
done
note "manifests as they were:$returned"
