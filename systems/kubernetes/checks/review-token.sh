# review-token NAMESPACE ACCOUNT REVIEWER KUBECTL...: has the API server that KUBECTL names issue a token of a
# service account, and REVIEWER (host:port) review it; prints authenticated=, user= and error=.
#
# The token lives in this shell: it goes to kubectl by standard input and is in no argument, file or output.
set -u
umask 077
NAMESPACE=$1 ACCOUNT=$2 REVIEWER=$3
shift 3
errors=$(mktemp /run/requorum-token.XXXXXX) || exit 73
trap 'rm -f "$errors"' EXIT
trap 'exit 143' HUP INT PIPE TERM
why() { tail -n 1 "$errors" | cut -c 1-300; }

token=$("$@" --namespace="$NAMESPACE" create token "$ACCOUNT" --duration=10m 2>"$errors")
if [ -z "$token" ]; then
  echo "error=none was issued: $(why)"
  exit 0
fi
answer=$(printf '{"apiVersion":"authentication.k8s.io/v1","kind":"TokenReview","spec":{"token":"%s"}}' "$token" |
  "$@" --server="https://$REVIEWER" create --validate=false --filename=- \
    --output='jsonpath=authenticated={.status.authenticated}{"\n"}user={.status.user.username}{"\n"}error={.status.error}{"\n"}' \
    2>"$errors") || answer="error=$(why)"
# What a server says of a token may quote it.
case $answer in
  *"$token"*) echo "error=the reviewer quotes the token in its answer, which is withheld" ;;
  *) printf '%s\n' "$answer" ;;
esac
