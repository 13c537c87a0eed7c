# What the connection's side (protocol.sh) and the unit's side (unit.sh) of a step share: its files.
# POSIX sh, coreutils, systemd, and flock of util-linux, which systemd itself needs.
#
# /var/lib/requorum/steps/<id>/      0700, survives a reboot
#   digest        of script and arguments: an id stands for one piece of work
#   lock          held while an attempt is looked for and started, never while it runs
#   unit.sh       the unit's side, as of the newest attempt
#   command       the script behind a `set --` line with its arguments
#   <n>.started   attempt n, about to start: boot, time, who started it
#   <n>.begun/    made by the unit when it begins, or by whoever gives the attempt up: only one can
#   <n>.stop      somebody asked for its end
#   <n>.stdout, <n>.stderr, <n>.receipt   how it ended; the receipt is last
# /run/requorum/steps/<unit>/        0700, memory only: the secret until the unit has opened it, its pipes

umask 077
export LC_ALL=C PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
STEPS=/var/lib/requorum/steps
VOLATILE=/run/requorum/steps

now() {
  date -u +%Y-%m-%dT%H:%M:%S.%3NZ
}

# Puts files in place that were written with .new behind their names, in this order: each is there whole or not
# at all, power cut or not. Two calls of sync however many they are; it is what a short step costs most of.
commit() { # directory, names
  into=$1
  shift
  for name; do
    set -- "$@" "$into/$name.new"
    shift
  done
  sync "$@"
  for file; do mv -f "$file" "${file%.new}"; done
  sync "$into"
}

# On a full disk there is no receipt rather than an empty one: the attempt is lost then, and the next one says why.
record() { # directory attempt code cause
  touch "$1/$2.stdout" "$1/$2.stderr"
  printf 'code=%s\ncause=%s\nended=%s\n' "$3" "$4" "$(now)" >"$1/$2.receipt.new" &&
    sync "$1/$2.stdout" "$1/$2.stderr" "$1/$2.receipt.new" &&
    mv -f "$1/$2.receipt.new" "$1/$2.receipt" &&
    sync "$1"
}
