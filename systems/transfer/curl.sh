# Shared by send.sh and fetch.sh: a request by curl, whose URL and headers come on standard input and show nowhere: printf is
# of the shell itself.
umask 077
request=$(cat)
mkdir -p /run/requorum
scratch=$(mktemp -d /run/requorum/transfer.XXXXXX)
trap 'rm -rf "$scratch"' EXIT

# ask CURL-OPTION...: leaves what curl said in $scratch/status, $scratch/why and $scratch/failed, also from a pipe.
ask() {
  failed=0
  printf '%s\n' "$request" | curl --config - --silent --show-error --connect-timeout 10 --speed-limit 1 --speed-time 60 \
    --write-out '%{http_code}' "$@" >"$scratch/status" 2>"$scratch/why" || failed=$?
  echo "$failed" >"$scratch/failed"
}

# told BODY: how the store answered. The body of a refusal holds the string that was signed: only code and message leave it.
told() {
  element() { head -c 4096 "$2" 2>/dev/null | tr -d '\n' | sed -n "s:.*<$1>\([^<]\{1,300\}\)</$1>.*:\1:p"; }
  failed=$(cat "$scratch/failed")
  status=$(cat "$scratch/status")
  echo "status=$status"
  echo "curl=$failed"
  echo "why=$(head -c 300 "$scratch/why" | tr '\n' ' ')"
  case $status in
  2*) ;;
  *)
    echo "code=$(element Code "$1")"
    echo "message=$(element Message "$1")"
    ;;
  esac
}
