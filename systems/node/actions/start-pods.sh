# start-pods RECOVERY FROM TO POD...
RECOVERY=$1 FROM=$2 TO=$3
shift 3

# As the way back this also runs where nothing was ever stopped.
admit() {
  for pod; do
    kept=$FROM/$pod.yaml target=$TO/$pod.yaml
    if [ ! -e "$target" ]; then
      [ -e "$kept" ] || die 65 "neither $target nor $kept exists"
    elif [ -e "$kept" ] && ! cmp -s "$kept" "$target"; then
      die 65 "$target isn't what was kept in $kept"
    fi
  done
}

execute() {
  for pod; do
    [ -e "$TO/$pod.yaml" ] || copy_whole "$FROM/$pod.yaml" "$TO/$pod.yaml"
  done
  did="manifests in place: $*"
}

verify() { for pod; do [ -e "$TO/$pod.yaml" ] || die 75 "$TO/$pod.yaml is not there"; done; }
