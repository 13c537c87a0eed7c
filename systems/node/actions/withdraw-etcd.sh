# withdraw-etcd RECOVERY KEPT FROM TO LIMIT_SECONDS NODE DATA_DIR
RECOVERY=$1 KEPT=$2 FROM=$3 TO=$4 LIMIT=$5 NODE=$6 DATA_DIR=$7

admit() { :; } # the way back is open at every moment

execute() {
  nothing_more_is_done
  if [ ! -e "$RECOVERY/etcd-started" ]; then
    did="nothing to withdraw: the restored etcd was never started"
    return
  fi
  mkdir -p "$TO"
  rm -f "$FROM/.etcd.yaml.partial"
  if [ -e "$FROM/etcd.yaml" ]; then
    [ -e "$TO/etcd.yaml" ] || copy_whole "$FROM/etcd.yaml" "$TO/etcd.yaml"
    rm "$FROM/etcd.yaml"
    settle "$FROM"
  fi
  hold_kubelet
  end_pods "$NODE" "$LIMIT" "" etcd
  let_kubelet_go
  did="withdrawn: the restored etcd"
}

nothing_more_is_done() {
  mkdir -p "$RECOVERY"
  : >"$RECOVERY/undoing"
  settle "$RECOVERY"
  # A step of this recovery that nobody could wait for may still be at work here: the way back begins by ending it.
  for unit in $(systemctl list-units --plain --no-legend --state=active --state=activating --state=deactivating "requorum-$(basename "$RECOVERY" | tr '[:upper:]' '[:lower:]').*" | cut -d ' ' -f 1); do
    grep -qF "$unit" /proc/self/cgroup || systemctl stop "$unit" || true # it may have ended by itself meanwhile
  done
  # Killed in the middle, a step may have left it stopped.
  [ ! -e "$RECOVERY/kubelet-held" ] || let_kubelet_go
}

verify() { [ ! -e "$RECOVERY/etcd-started" ] || stopped "$FROM" etcd; }
