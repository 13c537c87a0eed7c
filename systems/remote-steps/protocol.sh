# The connection's side of a step. Answers in lines of key=value; any other end than 0 is an error.
set -eu

# Whether the unit of an attempt is there. When systemd gives no answer it may be: nothing is started then.
is_alive() { # unit
  activity=$(systemctl show --property=ActiveState --value "$1") || return 0
  case $activity in
  inactive | failed) return 1 ;;
  *) return 0 ;;
  esac
}

newest() { # directory
  n=0
  while [ -e "$1/$((n + 1)).started" ]; do n=$((n + 1)); done
  echo "$n"
}

# The value of one key in a file of key=value lines.
value() { # key file
  while IFS='=' read -r key rest; do
    if [ "$key" = "$1" ]; then echo "$rest"; fi
  done <"$2"
}

show() { # directory attempt
  echo state=ended
  cat "$1/$2.started" "$1/$2.receipt"
  printf 'stdout=%s\n' "$(base64 <"$1/$2.stdout" | tr -d '\n')"
  printf 'stderr=%s\n' "$(base64 <"$1/$2.stderr" | tr -d '\n')"
}

# Waits for an attempt's receipt for about so many tenths of a second: often at first, because most are short.
watch() { # directory attempt unit tenths
  tick=0
  while [ ! -e "$1/$2.receipt" ]; do
    if [ "$tick" -ge "$4" ]; then
      echo state=running
      echo "attempt=$2"
      return
    fi
    tick=$((tick + 1))
    if [ "$tick" -le 10 ]; then sleep 0.02; else sleep 0.1; fi
    if [ "$((tick % 20))" = 0 ] && ! is_alive "$3" && [ ! -e "$1/$2.receipt" ]; then
      echo state=lost
      return
    fi
  done
  show "$1" "$2"
}

take_lock() { # directory
  exec 9>"$1/lock"
  if ! flock -w 30 9; then
    echo "another caller has held $1/lock for 30 s" >&2
    exit 75
  fi
}

begin() { # id digest caller run_ms keep tenths secret|none, then properties of the unit
  id=$1 digest=$2 caller=$3 run_ms=$4 keep=$5 tenths=$6 secret=$7
  shift 7
  directory=$STEPS/$id
  mkdir -p "$directory"
  take_lock "$directory"

  if [ -e "$directory/digest" ] && [ "$(cat "$directory/digest")" != "$digest" ]; then
    echo state=refused
    return
  fi

  n=$(newest "$directory")
  if [ "$n" -gt 0 ]; then
    unit=requorum-$id-$n.service
    starter=$(value caller "$directory/$n.started")
    if [ "$starter" = "$caller" ]; then echo attached=no; else echo attached=yes; fi
    if [ ! -e "$directory/$n.receipt" ] && is_alive "$unit"; then
      exec 9>&-
      watch "$directory" "$n" "$unit" "$tenths"
      return
    fi
    # Not alive, so a receipt that isn't there now never comes.
    if [ -e "$directory/$n.receipt" ]; then
      # This caller's own attempt, whose answer it did not get, is its result even when it failed.
      if [ "$(value code "$directory/$n.receipt")" = 0 ] || [ "$starter" = "$caller" ]; then
        show "$directory" "$n"
        return
      fi
    else
      mkdir "$directory/$n.begun" 2>/dev/null || :
      rm -rf "${VOLATILE:?}/$unit"
    fi
  fi

  n=$((n + 1))
  unit=requorum-$id-$n.service
  start "$@"
  exec 9>&-
  echo attached=no
  watch "$directory" "$n" "$unit" "$tenths"
}

# Starts attempt n. Whatever goes wrong leaves either a unit that runs or a receipt that says why not.
start() { # properties of the unit
  # A shell that can't write says "I/O error"; head says whether the disk is full.
  if ! head -c 65536 /dev/zero >"$directory/room"; then
    rm -f "$directory/room"
    exit 75
  fi
  rm -f "$directory/room"
  mkdir -p "$VOLATILE/$unit"
  # printf is part of the shell: what it is given shows in no process list.
  if [ "$secret" = secret ]; then printf %s "$SECRET" | base64 -d >"$VOLATILE/$unit/secret"; fi
  echo "$digest" >"$directory/digest.new"
  printf %s "$UNIT" | base64 -d >"$directory/unit.sh.new"
  printf %s "$COMMAND" | base64 -d >"$directory/command.new"
  printf 'attempt=%s\nboot=%s\ncaller=%s\nstarted=%s\n' \
    "$n" "$(cat /proc/sys/kernel/random/boot_id)" "$caller" "$(now)" >"$directory/$n.started.new"
  commit "$directory" digest unit.sh command "$n.started"

  arguments="$directory $n $unit $keep $secret"
  # shellcheck disable=SC2086 # split on purpose: none of them holds a blank
  if said=$(systemd-run --quiet --no-ask-password --collect --unit="$unit" --description="Requorum step $id" \
    --property=Type=exec --property=KillMode=mixed --property=TimeoutStopSec=10 \
    --property="RuntimeMaxSec=${run_ms}ms" --property="ExecStopPost=/bin/sh $directory/unit.sh after $arguments" \
    "$@" /bin/sh "$directory/unit.sh" run $arguments 2>&1); then
    return
  fi
  # It may have come about all the same, when only the answer was missing: whoever makes the mark first decides.
  if mkdir "$directory/$n.begun" 2>/dev/null; then
    printf '%s\n' "$said" >"$directory/$n.stderr"
    rm -rf "${VOLATILE:?}/$unit"
    record "$directory" "$n" 125 not-started
  fi
}

# Goes on waiting for an attempt that is known.
look() { # id attempt tenths
  watch "$STEPS/$1" "$2" "requorum-$1-$2.service" "$3"
}

# Ends the newest attempt, if it is still at work, and shows its receipt.
stop() { # id
  directory=$STEPS/$1
  if [ ! -d "$directory" ]; then
    echo state=never
    return
  fi
  take_lock "$directory"
  n=$(newest "$directory")
  if [ "$n" = 0 ]; then
    echo state=never
    return
  fi
  unit=requorum-$1-$n.service
  echo attached=yes
  if [ ! -e "$directory/$n.receipt" ]; then
    : >"$directory/$n.stop"
    if is_alive "$unit"; then systemctl stop "$unit"; fi
    if [ ! -e "$directory/$n.receipt" ]; then
      mkdir "$directory/$n.begun" 2>/dev/null || :
      rm -rf "${VOLATILE:?}/$unit"
      record "$directory" "$n" 143 stopped
    fi
  fi
  show "$directory" "$n"
}
