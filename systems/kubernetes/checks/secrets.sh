# secrets MOST KUBECTL...: lists all Secrets, then reads the first MOST of them one by one and whole, and prints
# how many, as key=value. Their content goes to /dev/null here: neither file nor output holds any of it.
#
# One by one because a list may come out of the API server's memory; a get always goes to etcd and has to be
# decrypted.
set -u
umask 077
MOST=$1
shift
work=$(mktemp -d /run/requorum-secrets.XXXXXX) || exit 73
trap 'rm -rf "$work"' EXIT
trap 'exit 143' HUP INT PIPE TERM
: >"$work/error"
"$@" get secrets --all-namespaces \
  --output='jsonpath={range .items[*]}{.metadata.namespace} {.metadata.name}{"\n"}{end}' >"$work/names" 2>"$work/error"
echo "listed=$(grep -c . "$work/names" || true)"
head -n "$MOST" "$work/names" >"$work/asked"
echo "asked=$(grep -c . "$work/asked" || true)"
cut -d ' ' -f 1 "$work/asked" | sort -u | while read -r namespace; do
  awk -v namespace="$namespace" '$1 == namespace { print $2 }' "$work/asked" |
    xargs -n 200 "$@" --namespace="$namespace" get secret --ignore-not-found --output=name 2>>"$work/error"
done >"$work/read"
echo "read=$(grep -c . "$work/read" || true)"
echo "error=$(tail -n 2 "$work/error" | tr '\n' ' ' | cut -c 1-300)"
