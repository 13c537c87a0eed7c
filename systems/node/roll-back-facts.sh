# roll-back-facts RECOVERY DATA_DIR ASIDE MANIFESTS: what is left of the time before a restore, fields apart by tabs.
#   aside INODE | data INODE | absent | kept POD SHA256 UID:GID MODE | manifest POD SHA256 UID:GID MODE
set -u
RECOVERY=$1 DATA_DIR=$2 ASIDE=$3 MANIFESTS=$4
inode() { [ ! -d "$2" ] || [ -L "$2" ] || printf '%s\t%s\n' "$1" "$(stat -c %i "$2")"; }
inode aside "$ASIDE"
inode data "$DATA_DIR"
[ ! -e "$RECOVERY/data-was-absent" ] || echo absent
list() {
  for file in "$2"/*.yaml; do
    [ -f "$file" ] || continue
    sha=$(sha256sum <"$file") || continue
    printf '%s\t%s\t%s\t%s\n' "$1" "$(basename "$file" .yaml)" "${sha%% *}" "$(stat -c '%u:%g	%a' "$file")"
  done
}
list kept "$RECOVERY/manifests"
list manifest "$MANIFESTS"
