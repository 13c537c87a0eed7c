# start-etcd RECOVERY KEPT TO SHA256 MANIFEST_BASE64
RECOVERY=$1 KEPT=$2 TO=$3 SHA256=$4 TEXT=$5

# is_new FILE
is_new() { [ -e "$1" ] && echo "$SHA256  $1" | sha256sum --check --status -; }

admit() {
  forward
  if [ -e "$RECOVERY/etcd-started" ] && is_new "$TO/etcd.yaml"; then
    found="started before: $TO/etcd.yaml"
  elif [ -e "$TO/etcd.yaml" ]; then
    die 65 "$TO/etcd.yaml is neither gone nor ours"
  fi
}

execute() {
  mkdir -p "$RECOVERY" "$TO"
  # A copy first: writing into it keeps owner, mode and label. A node that was made anew has none.
  if [ -e "$KEPT" ]; then cp -a "$KEPT" "$RECOVERY/etcd.yaml.new"; fi
  printf '%s' "$TEXT" | base64 -d >"$RECOVERY/etcd.yaml.new"
  is_new "$RECOVERY/etcd.yaml.new" || die 65 "the new manifest isn't the one of the plan"
  # The new manifest may be the old one, byte for byte: only this mark says which etcd it starts.
  : >"$RECOVERY/etcd-started"
  settle "$RECOVERY"
  copy_whole "$RECOVERY/etcd.yaml.new" "$TO/etcd.yaml"
  did="started: etcd, with the full member list in $TO/etcd.yaml"
}

verify() { is_new "$TO/etcd.yaml" || die 75 "$TO/etcd.yaml isn't the one of the plan"; }
