# Put behind every action: all of them are carried out like this. A function in a condition would run on after an error.
admit "$@"
if [ -z "$found" ]; then execute "$@"; fi
verify "$@"
note "${found:-$did}"
