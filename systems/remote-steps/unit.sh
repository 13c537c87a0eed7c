# The unit's side of a step: unit.sh run|after <directory> <attempt> <unit> <keep bytes> <secret|none>
set -u
directory=$2
n=$3
volatile=$VOLATILE/$4
keep=$5
export HOME=/root

# ExecStart=. Writes the receipt itself when the script came to its end; otherwise leaves it to `after`.
run() {
  # Lost the race against somebody who gave this attempt up: it must not do anything any more.
  mkdir "$directory/$n.begun" || exit 125

  if [ "$1" = secret ]; then
    exec 3<"$volatile/secret" # when it isn't there, the shell ends here, and nothing is run without it
    rm -f "$volatile/secret"
  else
    exec 3</dev/null
  fi

  # tail holds the newest bytes and no more, however much is printed. One byte over tells that some are missing.
  mkfifo "$volatile/out" "$volatile/err" || exit 125
  tail -c "$((keep + 1))" <"$volatile/out" >"$directory/$n.stdout" 3<&- &
  out=$!
  tail -c "$((keep + 1))" <"$volatile/err" >"$directory/$n.stderr" 3<&- &
  err=$!

  # In a process group of its own, so that all of it can be ended and the tails stay.
  setsid /bin/sh -eu "$directory/command" <&3 3<&- >"$volatile/out" 2>"$volatile/err" &
  child=$!
  exec 3<&-
  interrupted=
  trap 'interrupted=yes; kill -s TERM -- "-$child" 2>/dev/null || kill -s TERM "$child" 2>/dev/null' TERM INT HUP
  while :; do
    code=0
    wait "$child" || code=$?
    kill -0 "$child" 2>/dev/null || break # still there: it was our own signal that ended the waiting
  done

  # What it left behind would hold the pipes open. systemd ends what left its group as well, after 5 s.
  kill -s KILL -- "-$child" 2>/dev/null # in this form: dash refuses `kill -KILL -- -N`
  setsid /bin/sh -c 'sleep 5; kill "$@"' impatience "$out" "$err" &
  impatience=$!
  wait "$out" || echo '[output lost: a process that the step left behind held on to it]' >>"$directory/$n.stdout"
  wait "$err" || echo '[output lost: a process that the step left behind held on to it]' >>"$directory/$n.stderr"
  kill -s TERM -- "-$impatience" 2>/dev/null

  if [ -z "$interrupted" ] || [ "$code" = 0 ]; then record "$directory" "$n" "$code" exited; fi
  # The attempt's code is in its receipt. To systemd the unit did its work, unless it was interrupted.
  [ -z "$interrupted" ] || exit "$code"
  exit 0
}

# ExecStopPost=: runs however the unit ended, and writes the receipt that is still missing.
after() {
  rm -rf "$volatile"
  [ ! -e "$directory/$n.receipt" ] || return 0

  case ${EXIT_STATUS-} in
  KILL) code=137 ;;
  TERM) code=143 ;;
  ABRT) code=134 ;;
  SEGV) code=139 ;;
  '' | 0 | *[!0-9]*) code=255 ;; # never a 0 that the script didn't earn
  *) code=$EXIT_STATUS ;;
  esac
  cause=killed
  if [ "${SERVICE_RESULT-}" = timeout ]; then
    code=124
    cause=timed-out
  elif [ -e "$directory/$n.stop" ]; then
    code=143
    cause=stopped
  elif [ ! -e "$directory/$n.begun" ] || [ ! -e "$directory/$n.stdout" ]; then
    cause=not-started
  fi
  record "$directory" "$n" "$code" "$cause"
}

case $1 in
run) run "$6" ;;
after) after ;;
esac
