# fence-pods RECOVERY FROM TO LIMIT_SECONDS NODE DATA_DIR KILL,... POD...: as stop-pods, on a node that nobody planned
# for: a pod may be there or not. What was kept before and differs is kept beside it.
RECOVERY=$1 FROM=$2 TO=$3 LIMIT=$4 NODE=$5 DATA_DIR=$6 KILL=$7
shift 7

admit() { :; } # whatever is there is kept from starting

execute() {
  mkdir -p "$TO"
  kept_now=
  for pod; do
    source=$FROM/$pod.yaml kept=$TO/$pod.yaml
    [ -e "$source" ] || continue
    if [ -e "$kept" ] && ! cmp -s "$source" "$kept"; then
      mv -T "$kept" "$kept.before-$(date -u +%Y%m%dT%H%M%SZ)"
    fi
    [ -e "$kept" ] || copy_whole "$source" "$kept"
    rm "$source"
    settle "$FROM"
    kept_now="$kept_now $pod"
  done
  hold_kubelet
  end_pods "$NODE" "$LIMIT" "$KILL" "$@"
  let_kubelet_go
  did="fenced:${kept_now:- nothing was left to move} (manifests in $TO)"
}

verify() { stopped "$FROM" "$@"; }
