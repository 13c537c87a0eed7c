# certificates [NAME FILE AUTHORITY SERVED_AT]...: what openssl says of each file, as key=value after a line
# certificate=NAME. SERVED_AT is host:port, or - for what no server shows. Private keys are not read.
set -u
command -v openssl >/dev/null || { echo "openssl is not installed" >&2; exit 69; }
fingerprint() { openssl x509 -noout -fingerprint -sha256 2>/dev/null; }
while [ $# -ge 4 ]; do
  name=$1 file=$2 authority=$3 served_at=$4
  shift 4
  echo "certificate=$name"
  if [ ! -r "$file" ]; then
    echo "problem=$file is not there"
    continue
  fi
  ends=$(openssl x509 -in "$file" -noout -enddate 2>/dev/null | sed -n 's/^notAfter=//p')
  if [ -z "$ends" ]; then
    echo "problem=$file holds no certificate"
    continue
  fi
  echo "ends=$(date -u -d "$ends" +%Y-%m-%dT%H:%M:%SZ)"
  # Its end is judged apart. An authority may itself be signed by another, and a file may bring those in between.
  if chain=$(openssl verify -no_check_time -partial_chain -CAfile "$authority" -untrusted "$file" "$file" 2>&1); then
    echo "chain=ok"
  else
    echo "chain=$(printf '%s' "$chain" | grep -v '^[^ ]*: OK$' | tr '\n' ' ' | cut -c 1-200)"
  fi
  [ "$served_at" != - ] || continue
  # The server shows its certificate before it asks for ours, so none is needed.
  shown=$(timeout 10 openssl s_client -connect "$served_at" -noservername </dev/null 2>/dev/null | fingerprint)
  if [ -z "$shown" ]; then
    echo "served=nothing"
  elif [ "$shown" = "$(fingerprint <"$file")" ]; then
    echo "served=same"
  else
    echo "served=other"
  fi
done
