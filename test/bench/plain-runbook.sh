#!/bin/sh
# The source runbook's restore after a full quorum loss, as a person's script does it: its commands in its order,
# node after node over ssh. Added is only what it leaves to the person: waiting until what was stopped is gone, and
# waiting until etcd is healthy. The snapshot is on every node already and was verified there.
#
#   plain-runbook.sh SSH_KEY KNOWN_HOSTS SNAPSHOT TOKEN NODE=USER@ADDRESS...
set -eu
key=$1 known_hosts=$2 snapshot=$3 token=$4
shift 4

on() { # NODE=USER@ADDRESS COMMAND
  ssh -F none -i "$key" -o IdentitiesOnly=yes -o StrictHostKeyChecking=yes -o LogLevel=ERROR -o BatchMode=yes \
    -o UserKnownHostsFile="$known_hosts" -o GlobalKnownHostsFile=none "${1#*=}" sudo -n sh -eu <<EOF
$2
EOF
}

say() { echo "$(date +%T) $*"; }

members=
for node; do members="$members,${node%%=*}=https://${node##*@}:2380"; done
members=${members#,}

for node; do
  name=${node%%=*}
  say "$name: stop the control plane, set the old data aside"
  # A process that ended may be started once more by a kubelet that has not noticed yet; its sandbox tells.
  on "$node" "
    mkdir -p /tmp/manifests-bak
    mv /etc/kubernetes/manifests/*.yaml /tmp/manifests-bak/
    containers() {
      command -v ctr >/dev/null || return 0
      for pod in etcd-$name kube-apiserver-$name; do
        ctr -n k8s.io containers list -q 'labels.\"io.kubernetes.pod.name\"=='\$pod
      done
    }
    runs() {
      for id in \$(containers); do
        ctr -n k8s.io tasks list | grep \"^\$id .*RUNNING\" && return
      done
      pgrep -f '^([^ ]*/)?(etcd|kube-apiserver) '
    }
    while runs >/dev/null; do sleep 1; done
    mv /var/lib/etcd /var/lib/etcd.corrupt.\$(date +%s)"
done

for node; do
  name=${node%%=*}
  say "$name: restore the snapshot"
  on "$node" "
    etcdutl snapshot restore $snapshot \
      --name=$name \
      --initial-cluster=$members \
      --initial-cluster-token=$token \
      --initial-advertise-peer-urls=https://${node##*@}:2380 \
      --data-dir=/var/lib/etcd 2>/tmp/restore.log || { cat /tmp/restore.log >&2; exit 1; }
    chown -R root:root /var/lib/etcd"
done

for node; do
  say "${node%%=*}: start etcd"
  on "$node" 'mv /tmp/manifests-bak/etcd.yaml /etc/kubernetes/manifests/'
done
for node; do
  say "${node%%=*}: wait for etcd"
  on "$node" '
    while ! etcdctl --endpoints=https://127.0.0.1:2379 --cacert=/etc/kubernetes/pki/etcd/ca.crt \
      --cert=/etc/kubernetes/pki/etcd/server.crt --key=/etc/kubernetes/pki/etcd/server.key \
      endpoint health >/dev/null 2>&1; do sleep 1; done'
done

for node; do
  say "${node%%=*}: start what else was stopped"
  # A node of etcd alone has no others.
  on "$node" 'if ls /tmp/manifests-bak/*.yaml >/dev/null 2>&1; then
    mv /tmp/manifests-bak/*.yaml /etc/kubernetes/manifests/
  fi'
done
say 'every manifest is back'
