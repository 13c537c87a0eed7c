# Put before every action. Each of them says what it does in three functions, carried out by carry-out.sh:
#
#   admit    refuses what may not be done now, and says in `found` when it has been done already
#   execute  does it, any number of times and from whatever an attempt before this one left, and says so in `did`
#   verify   looks again for what has to be so afterwards, done now or done already
#
# Exit 65: the node isn't as the plan says, trying again can't help. Exit 75: not yet, or unknown; trying again can help.
# Exit 76: what was waited for did not come. Anything else that fails is definite too.
set -eu
umask 077
found= did=

die() {
  code=$1
  shift
  printf '%s\n' "$*" >&2
  exit "$code"
}

# forward: a step towards the restored cluster. A worker that slept through the way back may still ask for one.
forward() {
  [ ! -e "$RECOVERY/undoing" ] || die 65 "this recovery is being undone; nothing more is done towards it"
}

# Both the data and the name have to be on disk before a receipt says so.
settle() { sync -f "$1" 2>/dev/null || sync; }

note() {
  mkdir -p "$RECOVERY"
  printf '%s %s\n' "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$*" >>"$RECOVERY/done.log"
  printf '%s\n' "$*"
}

# running NAME [WORD]: process IDs whose name is NAME (the kernel keeps 15 characters), in this node's own network as
# static pods of a control plane are, one of whose arguments is WORD. Other clusters' etcds and API servers, in pods or as
# services of this node, are not meant. A zombie has no arguments and doesn't count.
running() {
  short=$(printf '%.15s' "$1")
  network=$(readlink /proc/self/ns/net)
  for process in /proc/[0-9]*; do
    name=
    read -r name 2>/dev/null <"$process/comm" || continue
    [ "$name" = "$short" ] || continue
    [ "$(readlink "$process/ns/net")" = "$network" ] || continue
    words=$(tr '\0' '\n' 2>/dev/null <"$process/cmdline") || continue
    [ -n "$words" ] || continue
    if [ -z "${2:-}" ] || printf '%s\n' "$words" | grep -qxF -e "$2"; then printf '%s ' "${process#/proc/}"; fi
  done
}

# running_pod POD: processes of a static pod. An etcd is known by the directory that it works on (DATA_DIR).
running_pod() {
  case $1 in
    etcd) running etcd "--data-dir=$DATA_DIR" ;;
    *) running "$1" ;;
  esac
}

# hold_kubelet: until this action ends, however it ends, nobody starts again what is ended here, and nobody gives an
# API server whose etcd is gone its whole grace period. Should the action be killed, the mark says that the kubelet
# is to be started, unless it stood still before; after a reboot it starts by itself.
hold_kubelet() {
  if [ ! -e "$RECOVERY/kubelet-held" ]; then
    systemctl is-active kubelet >"$RECOVERY/kubelet-held" 2>/dev/null || :
    settle "$RECOVERY"
  fi
  trap let_kubelet_go EXIT
  trap 'exit 75' HUP INT TERM
  systemctl stop kubelet || die 75 "the kubelet could not be stopped"
}

# let_kubelet_go: it comes back without its memory of crashes, for which it would put off a start by up to 5 minutes,
# and without what it knew of the API at revisions from before. One that somebody had stopped stays stopped.
let_kubelet_go() {
  trap '' HUP INT TERM
  trap - EXIT
  if [ "$(cat "$RECOVERY/kubelet-held" 2>/dev/null)" = inactive ]; then
    note "the kubelet stood still before and still does"
  elif ! systemctl start kubelet; then
    # The way back does not need it.
    [ -e "$RECOVERY/undoing" ] || die 75 "the kubelet could not be started"
    note "the kubelet could not be started"
  fi
  rm -f "$RECOVERY/kubelet-held"
  trap - HUP INT TERM
}

# seconds: since this node was started, by a clock that nobody sets.
seconds() {
  read -r up rest </proc/uptime
  echo "${up%.*}"
}

# end_pods NODE LIMIT_SECONDS KILL,... POD...: with the kubelet held and the manifests gone. Those of KILL keep nothing
# and are killed; the others are told to end, and killed after 30 s, as a kubelet does. Twice: a container whose start was
# under way when the kubelet was stopped shows up late.
end_pods() {
  node=$1 deadline=$(($(seconds) + $2)) limit=$2 kill=$3
  shift 3
  end_processes "$@"
  names=$(for name in "$node" "$(hostname 2>/dev/null)" "$(hostname -f 2>/dev/null)"; do printf '%s\n' "$name"; done | grep . | sort -u)
  # shellcheck disable=SC2086 # names
  end_containers "^($(joined "$@"))-($(joined $names))\$" ||
    note "the container runtime did not answer: what it runs of $* besides the processes of those names was left to it"
  end_processes "$@"
}

joined() {
  all=$(printf '%s|' "$@")
  printf '%s' "${all%|}"
}

end_processes() {
  for pod; do
    case ,$kill, in *",$pod,"*) signal=KILL ;; *) signal=TERM ;; esac
    pids=$(running_pod "$pod")
    # shellcheck disable=SC2086 # process IDs
    [ -z "$pids" ] || kill -s "$signal" $pids 2>/dev/null || :
  done
  told=$(seconds)
  for pod; do
    while pids=$(running_pod "$pod") && [ -n "$pids" ]; do
      now=$(seconds)
      [ "$now" -lt "$deadline" ] || die 75 "$pod still runs after $limit s (process $pids)"
      # shellcheck disable=SC2086 # process IDs
      [ "$((now - told))" -lt 30 ] || kill -s KILL $pids 2>/dev/null || :
      sleep 0.1
    done
  done
}

# end_containers POD_PATTERN: what the container runtime still runs of these pods: containers whose process has another
# name than its pod, and sandboxes. Where no client of it is on the node, the processes have to do.
end_containers() {
  asked=no
  if command -v crictl >/dev/null 2>&1; then
    end_sandboxes "$1" && return 0
    asked=yes
  fi
  if command -v ctr >/dev/null 2>&1; then
    end_tasks "$1" container TERM && end_tasks "$1" sandbox KILL && return 0
    asked=yes
  fi
  [ "$asked" = no ]
}

end_sandboxes() {
  sandboxes=$(crictl pods --quiet --state Ready --name "$1" 2>/dev/null) || return 1
  for sandbox in $sandboxes; do
    containers=$(crictl ps --quiet --pod "$sandbox" 2>/dev/null) || return 1
    # shellcheck disable=SC2086 # container IDs
    [ -z "$containers" ] || crictl stop --timeout 30 $containers >/dev/null 2>&1 || return 1
    crictl stopp "$sandbox" >/dev/null 2>&1 || return 1
  done
}

# end_tasks POD_PATTERN KIND SIGNAL: as end_sandboxes, where containerd's own client has to do. A task that does not end
# within 10 s is killed.
end_tasks() {
  of_pods="labels.\"io.kubernetes.pod.name\"~=\"$1\",labels.\"io.cri-containerd.kind\"==$2"
  ids=$(ctr --namespace k8s.io containers list --quiet "$of_pods" 2>/dev/null) || return 1
  [ -n "$ids" ] || return 0
  tried=0
  while tasks=$(ctr --namespace k8s.io tasks list 2>/dev/null) || return 1
    left=$(printf '%s\n' "$tasks" | awk '$3 == "RUNNING" { print $1 }' | grep -xF -e "$ids"); do
    [ "$tried" -lt 100 ] || return 1
    for id in $left; do
      case $tried in
        0) ctr --namespace k8s.io tasks kill --signal "$3" "$id" >/dev/null 2>&1 || : ;;
        50) ctr --namespace k8s.io tasks kill --signal KILL "$id" >/dev/null 2>&1 || : ;;
      esac
    done
    tried=$((tried + 1))
    sleep 0.2
  done
}

# copy_whole FROM TO: owner, mode, times and label kept; TO appears only when it is complete.
# The partial name begins with a dot: the kubelet loads every other file in its directory.
copy_whole() {
  partial=$(dirname "$2")/.$(basename "$2").partial
  cp -a "$1" "$partial"
  settle "$partial"
  mv -T "$partial" "$2"
  settle "$(dirname "$2")"
}

# stopped MANIFESTS POD...: ends the action unless no manifest and no process of them is left.
stopped() {
  manifests=$1
  shift
  for pod; do
    [ ! -e "$manifests/$pod.yaml" ] || die 75 "$manifests/$pod.yaml is there again"
    pids=$(running_pod "$pod")
    [ -z "$pids" ] || die 75 "$pod runs again (process $pids)"
  done
}

# label_as MODEL PATH: for SELinux, where it is.
label_as() {
  if [ -e "$1" ] && command -v chcon >/dev/null 2>&1; then
    chcon -R --reference="$1" "$2" 2>/dev/null || true
  fi
}
