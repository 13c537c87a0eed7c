# rehearse DIR ATTEMPT SNAPSHOT REVISION SECONDS START_SECONDS ETCD ETCDCTL ETCDUTL: restores a snapshot for real, serves it
# by an etcd that nobody else reaches, prints what it holds, and leaves nothing behind but the snapshot, in ATTEMPT below DIR.
# Ends 65 when the file isn't a whole snapshot or can't be restored, 66 when what was restored can't be served: words
# about the snapshot. 74 speaks of this machine, 75 of another rehearsal, 128 and above are signals.
# Around it stand check_snapshot and take_inventory.
set -eu
umask 077
export LC_ALL=C
DIR=$1 ATTEMPT=$2 SNAPSHOT=$3 REVISION=$4 SECONDS_LEFT=$5 START_SECONDS=$6 ETCD=$7 ETCDCTL=$8 ETCDUTL=$9

# One at a time: what else is there was left by somebody who is dead.
exec 9>"$DIR/lock"
flock -n 9 || { echo "another rehearsal is at work in $DIR" >&2; exit 75; }
for left in "$DIR"/*; do
  [ "$left" != "$DIR/lock" ] && [ "$left" != "$ATTEMPT" ] || continue
  # Its etcd would hold the memory of a whole database.
  pid=$(cat "$left/etcd.pid" 2>/dev/null || true)
  if [ -n "$pid" ] && tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | grep -qF "$left/"; then kill -KILL "$pid" || true; fi
  case $(cat "$left/sockets" 2>/dev/null || true) in /tmp/requorum.*) rm -rf "$(cat "$left/sockets")" ;; esac
  rm -rf "$left"
done

# The path of a socket may have 107 bytes at most, which ATTEMPT alone may have. Nobody else gets into this directory.
sockets=$(mktemp -d /tmp/requorum.XXXXXX)
echo "$sockets" >"$ATTEMPT/sockets"
serving=
end() {
  [ -z "$serving" ] || { kill -KILL "$serving" 2>/dev/null; wait "$serving" 2>/dev/null; } || true
  [ -z "${watch-}" ] || kill -KILL "$watch" 2>/dev/null || true
  rm -rf "$sockets" "$ATTEMPT/data"
}
trap end EXIT
trap 'exit 143' HUP INT PIPE TERM
# Without the worker that wants to know, or after its time, all of it ends. TERM goes to the whole process group: a shell
# hears it only when the command that it waits for has ended.
(
  trap - EXIT HUP INT PIPE TERM
  while [ "$SECONDS_LEFT" -gt 0 ] && kill -0 "$PPID" 2>/dev/null; do
    sleep 1
    SECONDS_LEFT=$((SECONDS_LEFT - 1))
  done
  kill -TERM 0
) >/dev/null 2>&1 9>&- &
watch=$!

# failed LOG CODE OTHERWISE: ends with what the failure speaks of, and its last words.
failed() {
  tail -n 1 "$1" >&2
  [ "$2" -lt 126 ] || exit "$2"
  ! grep -qiE 'no space left|cannot allocate memory|out of memory|permission denied|too many open files' "$1" || exit 74
  exit "$3"
}

check_snapshot "$SNAPSHOT" "$ETCDUTL"
room=$(df --output=avail -B1 "$ATTEMPT" | tail -n 1)
[ "$room" -gt $((size + 67108864)) ] || { echo "$room bytes are free in $ATTEMPT, and what is restored needs $size" >&2; exit 74; }

now() { cut -d ' ' -f 1 /proc/uptime; }
began=$(now)
"$ETCDUTL" snapshot restore "$SNAPSHOT" --data-dir="$ATTEMPT/data" >"$ATTEMPT/restore.log" 2>&1 ||
  failed "$ATTEMPT/restore.log" $? 65
echo "restored=$began $(now)"

# serve SCHEME OPTION...: by an etcd that is asked with the words in $asked.
serve() {
  asked="--endpoints=$1://$sockets/client"
  listen=$1://$sockets/client
  shift
  "$ETCD" --data-dir="$ATTEMPT/data" --listen-client-urls="$listen" --listen-peer-urls="unix://$sockets/peer" \
    --advertise-client-urls=http://localhost:2379 --logger=zap --log-level=warn "$@" >"$ATTEMPT/etcd.log" 2>&1 9>&- &
  serving=$!
  echo "$serving" >"$ATTEMPT/etcd.pid"
}
# The users of a cluster with auth come along, and no password is known here. But whoever a certificate calls root is root,
# which such a cluster has to have; the one who answers for certificates is this etcd's own.
serve_with_auth() {
  command -v openssl >/dev/null || { echo "the snapshot's cluster has auth enabled, and openssl is not there to be let in" >&2; exit 74; }
  kill -KILL "$serving"
  wait "$serving" 2>/dev/null || true
  root=$sockets/root
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 -subj /CN=root \
    -keyout "$root.key" -out "$root.crt" 2>"$ATTEMPT/wait.log" || failed "$ATTEMPT/wait.log" $? 74
  serve unixs --cert-file="$root.crt" --key-file="$root.key" --client-cert-auth --trusted-ca-file="$root.crt"
  asked="$asked --cert=$root.crt --key=$root.key --insecure-skip-tls-verify"
}
# shellcheck disable=SC2086 # words, and none has a space in it
etcdctl() { "$ETCDCTL" $asked "$@"; }
serve unix
# A read and not `endpoint health`, which an alarm in the snapshot would fail for ever.
until etcdctl --command-timeout=5s get health --keys-only >/dev/null 2>"$ATTEMPT/wait.log"; do
  case $asked in *=unix:*) ! grep -q 'user name is empty' "$ATTEMPT/wait.log" || serve_with_auth ;; esac
  if ! kill -0 "$serving" 2>/dev/null; then
    code=0
    wait "$serving" || code=$?
    serving=
    failed "$ATTEMPT/etcd.log" "$code" 66
  fi
  [ "$START_SECONDS" -gt 0 ] || failed "$ATTEMPT/wait.log" 1 74
  START_SECONDS=$((START_SECONDS - 1))
  sleep 0.2
done
echo "served=$began $(now)"
hashkv=$(etcdctl --command-timeout=600s endpoint hashkv --write-out=json)
echo "hashkv=$hashkv"
# shellcheck disable=SC2086
REQUORUM_WORK=$ATTEMPT take_inventory "$REVISION" "$MOST_KEYS" "$ETCDCTL" $asked --command-timeout=60s
