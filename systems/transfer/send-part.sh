# send-part FILE OFFSET BYTES: puts a piece of the file where the request on standard input says. Ends 75 unless the store
# has it. Of a pipe curl does not know the length: the header says it.
FILE=$1 OFFSET=$2 BYTES=$3
dd if="$FILE" bs=1M iflag=skip_bytes,count_bytes skip="$OFFSET" count="$BYTES" status=none |
  ask --upload-file /dev/fd/4 --header 'Transfer-Encoding:' --header "Content-Length: $BYTES" \
    --output "$scratch/body" 4<&0
told "$scratch/body"
case $failed-$status in
0-2*) ;;
*) exit 75 ;;
esac
