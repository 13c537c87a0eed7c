# node-facts MANIFESTS DATA_DIR BACKUP_DIR ETCDCTL ETCDUTL LOCK CA CERT POD_LOGS PROBE FENCED: what a survey wants to
# know, as key=value. CA and CERT are what etcd is asked with. PROBE is yes or no: an API server whose etcd is gone takes
# seconds to say so. FENCED is where manifests are that are kept from starting.
set -u
MANIFESTS=$1 DATA_DIR=$2 BACKUP_DIR=$3 ETCDCTL=$4 ETCDUTL=$5 LOCK=$6 CA=$7 CERT=$8 POD_LOGS=$9 PROBE=${10} FENCED=${11}

# The nearest directory that exists: a data directory that is gone still has a filesystem to go to.
existing() {
  path=$1
  while [ ! -e "$path" ]; do path=$(dirname "$path"); done
  printf '%s' "$path"
}
room() { df --output=avail -B1 "$(existing "$1")" | tail -n 1 | tr -d ' '; }

# flag MANIFEST NAME: the value of --NAME= in the manifest's command, without quotes around the word.
flag() { sed -n "s/^ *- *[\"']\{0,1\}--$2=\([^\"']*\)[\"']\{0,1\} *$/\1/p" "$1" 2>/dev/null | head -n 1; }

# certificate NAME PATH: the first certificate of the file, for others to read. A key in it stays where it is.
certificate() {
  [ -n "$2" ] || return 0
  first=$(sed -n '/-BEGIN CERTIFICATE-/,/-END CERTIFICATE-/p;/-END CERTIFICATE-/q' "$2" 2>/dev/null | base64 -w0)
  echo "certificate=$1 $2 $first"
}

# state_and_age PID: the letter of the process's state and the seconds since it began. Its start is the 22nd
# field of stat, counted in clock ticks; the name before it may hold blanks and brackets.
state_and_age() {
  read -r line 2>/dev/null <"/proc/$1/stat" || return 0
  set -- ${line##*) }
  read -r up rest </proc/uptime
  echo "$1 $((${up%.*} - ${20} / $(getconf CLK_TCK 2>/dev/null || echo 100)))"
}

# last_words LOG: why a run of etcd ended, by its own words, and in whose code a panic was. One log is one run. A member
# that its peers have removed ends with a warning only.
last_words() {
  tail -c 1000000 "$1" 2>/dev/null | awk '
    /"level":"(fatal|panic)"|"msg":"server error".*permanently removed|(^|[ \t])(panic|fatal error): |unexpected fault address/ && words == "" { words = $0 }
    words != "" && match($0, /go\.etcd\.io\/(bbolt|raft|etcd\/[a-z]+\/v3\/[a-z0-9\/]+)/) && code == "" {
      code = substr($0, RSTART, RLENGTH)
    }
    END { if (words != "") printf "%.900s%s", words, (code == "" ? "" : " [in " code "]") }' | base64 -w0
}

# probe NAME CHECK SECONDS: asks this node's API server. Its certificate names `kubernetes` and not 127.0.0.1.
probe() {
  answer=$(curl --silent --show-error --noproxy '*' --max-time "$3" --cacert "$API_CA" \
    --resolve "kubernetes:$API_PORT:$API_HOST" --write-out '\n%{http_code}' "https://kubernetes:$API_PORT/$2" 2>&1)
  # Of the body only the names of failing checks; without an answer, curl's reason.
  echo "$1=$(printf '%s\n' "$answer" | tail -n 1) $(printf '%s\n' "$answer" | grep -E '^\[-\]|^curl: ' | cut -c 1-200 | head -n 8 | base64 -w0)"
}

ETCD=$MANIFESTS/etcd.yaml
[ -e "$ETCD" ] || [ ! -e "$FENCED/etcd.yaml" ] || ETCD=$FENCED/etcd.yaml
# Where etcd itself says that its data is; the cluster file's word is for a node whose manifest is gone.
of_manifest=$(flag "$ETCD" data-dir)
DATA_DIR=${of_manifest:-$DATA_DIR}
echo "data-dir=$DATA_DIR"
echo "boot=$(cat /proc/sys/kernel/random/boot_id)"
echo "clock=$(date -u +%s%3N)"
for process in /proc/[0-9]*; do
  name=
  read -r name 2>/dev/null <"$process/comm" || continue
  case $name in
    etcd)
      # Another cluster's, or a tenant's, works on another directory.
      [ ! -e "$ETCD" ] || tr '\0' '\n' <"$process/cmdline" 2>/dev/null | grep -qxF -e "--data-dir=$DATA_DIR" || continue
      echo "etcd-pid=${process#/proc/}"
      echo "etcd-process=$(state_and_age "${process#/proc/}")"
      ;;
    kube-apiserver) echo "api-pid=${process#/proc/}" ;;
  esac
done
kubelet=$(systemctl show --property=LoadState,ActiveState kubelet 2>/dev/null)
case $kubelet in
  *LoadState=loaded*) echo "kubelet=$(printf '%s\n' "$kubelet" | sed -n 's/^ActiveState=//p')" ;;
esac
for manifest in "$MANIFESTS"/*; do
  [ -f "$manifest" ] || continue
  case $manifest in
    *.yaml) echo "pod=$(basename "$manifest" .yaml)" ;;
    *) echo "stray=$(basename "$manifest")" ;;
  esac
done
[ -e "$MANIFESTS/etcd.yaml" ] && echo "etcd-manifest=$(base64 -w0 "$MANIFESTS/etcd.yaml")"
for manifest in "$FENCED"/*.yaml; do
  [ ! -f "$manifest" ] || echo "fenced=$(basename "$manifest" .yaml)"
done
[ -e "$FENCED/etcd.yaml" ] && echo "fenced-etcd-manifest=$(base64 -w0 "$FENCED/etcd.yaml")"
if [ -d "$DATA_DIR" ]; then
  echo "data-exists=yes"
  # A member that can't join leaves a fresh database and no log: nothing that etcd could go on from.
  if ls "$DATA_DIR"/member/wal/*.wal >/dev/null 2>&1; then
    echo "data-bytes=$(du -sb "$DATA_DIR" 2>/dev/null | cut -f1)"
  fi
  echo "data-owner=$(stat -L -c %u:%g "$DATA_DIR")"
  echo "data-mode=$(stat -L -c %a "$DATA_DIR")"
  [ -L "$DATA_DIR" ] && echo "data-link=yes"
  mountpoint -q "$DATA_DIR" && echo "data-mount=yes"
fi
echo "data-room=$(room "$(dirname "$DATA_DIR")")"
echo "snapshot-room=$(room "$BACKUP_DIR")"
echo "etcdctl=$("$ETCDCTL" version 2>/dev/null | sed -n 's/^etcdctl version: //p')"
echo "etcdutl=$("$ETCDUTL" version 2>/dev/null | sed -n 's/^etcdutl version: //p')"
[ -e "$LOCK" ] && echo "lock=$(base64 -w0 "$LOCK")"
echo "data-disk=$(df --output=size,avail,itotal,iavail -B1 "$(existing "$DATA_DIR")" | tail -n 1)"

certificate etcd-server "$(flag "$ETCD" cert-file)"
certificate etcd-peer "$(flag "$ETCD" peer-cert-file)"
certificate etcd-ca "$(flag "$ETCD" trusted-ca-file)"
certificate etcd-peer-ca "$(flag "$ETCD" peer-trusted-ca-file)"
certificate etcd-client-ca "$CA"
certificate etcd-client "$CERT"

# The newest log first; each start has its own, named by how many there were before it.
set -- $(ls -t "$POD_LOGS"/kube-system_etcd-*/etcd/*.log 2>/dev/null | head -n 2)
if [ $# -gt 0 ]; then
  echo "etcd-log=$(basename "$1" .log)"
  echo "etcd-fatal=$(last_words "$1")"
  [ $# -gt 1 ] && echo "etcd-fatal-before=$(last_words "$2")"
fi

API=$MANIFESTS/kube-apiserver.yaml
if [ -f "$API" ]; then
  certificate apiserver "$(flag "$API" tls-cert-file)"
  certificate apiserver-etcd-client "$(flag "$API" etcd-certfile)"
  API_CA=$(flag "$API" client-ca-file) API_PORT=$(flag "$API" secure-port) API_HOST=$(flag "$API" bind-address)
  : "${API_PORT:=6443}" "${API_HOST:=127.0.0.1}"
  case $API_HOST in 0.0.0.0 | ::) API_HOST=127.0.0.1 ;; esac
  if [ "$PROBE" = yes ] && command -v curl >/dev/null 2>&1; then
    probe api-readyz readyz 3
    probe api-livez livez 2
  fi
  echo "api=yes"
fi
echo "clock-end=$(date -u +%s%3N)"
true
