# stop-pods RECOVERY FROM TO LIMIT_SECONDS NODE DATA_DIR KILL,... POD...
RECOVERY=$1 FROM=$2 TO=$3 LIMIT=$4 NODE=$5 DATA_DIR=$6 KILL=$7
shift 7

admit() {
  forward
  for pod; do
    source=$FROM/$pod.yaml kept=$TO/$pod.yaml
    if [ ! -e "$source" ]; then
      [ -e "$kept" ] || die 65 "$source is gone, and nothing of it was kept"
    elif [ -e "$kept" ] && ! cmp -s "$source" "$kept"; then
      die 65 "$source and $kept both exist and differ"
    fi
  done
}

execute() {
  mkdir -p "$TO"
  for pod; do
    source=$FROM/$pod.yaml kept=$TO/$pod.yaml
    [ -e "$source" ] || continue
    [ -e "$kept" ] || copy_whole "$source" "$kept"
    rm "$source"
    settle "$FROM"
  done
  hold_kubelet
  end_pods "$NODE" "$LIMIT" "$KILL" "$@"
  let_kubelet_go
  did="stopped: $* (manifests in $TO)"
}

verify() { stopped "$FROM" "$@"; }
