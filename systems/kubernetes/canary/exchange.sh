# exchange ADDRESS PORT QUESTION HOW: sends QUESTION (hex) over TCP and prints the answer in hex. HOW says where
# the answer ends: `length` (two bytes before it say how long it is, as DNS has it) or `close`.
# In bash, which is the one shell on every node that speaks TCP.
set -u
exec timeout 5 bash -c '
  exec 3<>"/dev/tcp/$1/$2" || exit 1
  # bash would send a piece for each line end among the bytes; dd waits for all of them.
  printf "$(printf %s "$3" | sed "s/../\\\\x&/g")" | dd bs=65536 iflag=fullblock status=none >&3
  count=65536
  if [ "$4" = length ]; then
    read -r high low <<<"$(head -c 2 <&3 | od -An -tu1)"
    count=$((${high:-0} * 256 + ${low:-0}))
  fi
  head -c "$count" <&3 | od -An -v -tx1 | tr -d " \n"
' bash "$@"
