#!/bin/sh
# Keeps one lab host powered: runs systemd-nspawn in cgroups of the lab's own, and again when the
# host reboots itself (systemd-nspawn then ends with 133). Any other end is "powered off".
# Usage: supervise-host.sh CGROUP NSPAWN-ARGUMENT...
set -u
group=$1
shift

# make HIERARCHY PATH: a group and its parents. The cpuset of cgroup v1 begins empty and takes no process then.
make() {
	dir=$1
	for part in $(echo "$2" | tr / ' '); do
		parent=$dir dir=$dir/$part
		mkdir -p "$dir"
		for file in cpuset.cpus cpuset.mems; do
			[ ! -e "$dir/$file" ] || [ -n "$(cat "$dir/$file")" ] || cat "$parent/$file" >"$dir/$file"
		done
	done
}

# cgroup v2, v2 beside v1, and every hierarchy of v1: whichever this machine has. Without groups of their own
# the hosts' systemds, and their kubelets, would all manage the same ones.
join() {
	for hierarchy in /sys/fs/cgroup /sys/fs/cgroup/*; do
		[ -e "$hierarchy/cgroup.procs" ] && [ ! -L "$hierarchy" ] || continue
		# In a tree of cgroup v2 the directories below the root are groups, not hierarchies.
		[ "$hierarchy" = /sys/fs/cgroup ] || [ ! -e /sys/fs/cgroup/cgroup.procs ] || continue
		make "$hierarchy" "$group/$1" && echo "$2" >"$hierarchy/$group/$1/cgroup.procs"
	done
}

join supervisor $$
while :; do
	(
		# The subshell's own pid; $$ would be the supervisor's.
		self=$(exec sh -c 'echo "$PPID"')
		join host "$self"
		exec systemd-nspawn "$@"
	)
	[ $? -eq 133 ] || break
done
