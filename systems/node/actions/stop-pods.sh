# stop-pods RECOVERY FROM TO LIMIT_SECONDS NODE DATA_DIR KILL,... POD...
RECOVERY=$1 FROM=$2 TO=$3 LIMIT=$4 NODE=$5 DATA_DIR=$6 KILL=$7
shift 7
forward
mkdir -p "$TO"
for pod; do
  source=$FROM/$pod.yaml kept=$TO/$pod.yaml
  if [ -e "$source" ]; then
    if [ ! -e "$kept" ]; then
      copy_whole "$source" "$kept"
    elif ! cmp -s "$source" "$kept"; then
      die 65 "$source and $kept both exist and differ"
    fi
    rm "$source"
    settle "$FROM"
  elif [ ! -e "$kept" ]; then
    die 65 "$source is gone, and nothing of it was kept"
  fi
done
hold_kubelet
end_pods "$NODE" "$LIMIT" "$KILL" "$@"
let_kubelet_go
note "stopped: $* (manifests in $TO)"
