# start-pods RECOVERY FROM TO POD...
RECOVERY=$1 FROM=$2 TO=$3
shift 3
for pod; do
  kept=$FROM/$pod.yaml target=$TO/$pod.yaml
  if [ -e "$target" ]; then
    # As the way back this also runs where nothing was ever stopped.
    [ ! -e "$kept" ] || cmp -s "$kept" "$target" || die 65 "$target isn't what was kept in $kept"
  else
    [ -e "$kept" ] || die 65 "neither $target nor $kept exists"
    copy_whole "$kept" "$target"
  fi
done
note "manifests in place: $*"
