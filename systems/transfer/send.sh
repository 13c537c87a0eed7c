# send FILE: puts the file where the request on standard input says. Ends 75 unless the store has it.
FILE=$1
ask --upload-file "$FILE" --output "$scratch/body"
told "$scratch/body"
case $failed-$status in
0-2* | 0-412) ;;
*) exit 75 ;;
esac
