import { setTimeout as sleep } from 'node:timers/promises'
import { atConsole } from '../console.ts'
import { ETCDCTL } from '../etcdctl.ts'
import { writeLoad } from '../write-load.ts'
import { always, type Fault } from './fault.ts'

/** Ends etcd as a crash does. `|| true`: it may have crashed by itself over what was done to it. */
export const KILL_ETCD = 'pkill -KILL -x etcd || true'

/** What is in the data directory goes; the directory itself stays, as after a disk was swapped. */
export const WIPE_DATA = 'find /var/lib/etcd -mindepth 1 -delete'

/**
 * Random bytes over the database's pages from the second meta page on, every other page, and into
 * the middle of each log segment's written part: neither can be read to its end afterwards.
 */
export const CORRUPT_DATABASE = `
  db=/var/lib/etcd/member/snap/db
  pages=$(( $(stat -c %s "$db") / 4096 ))
  page=0
  while [ "$page" -lt "$pages" ] && [ "$page" -lt 400 ]; do
    dd if=/dev/urandom of="$db" bs=1024 count=1 seek=$((page * 4)) conv=notrunc status=none
    page=$((page + 2))
  done
  dd if=/dev/urandom of="$db" bs=1024 count=1 seek=4 conv=notrunc status=none
  for log in /var/lib/etcd/member/wal/*.wal; do
    dd if=/dev/urandom of="$log" bs=64 count=4 seek=8 conv=notrunc status=none
  done
  sync`

/**
 * A defragmentation writes db.tmp.* beside the database and renames it over it: while that file is there it is
 * at work. etcd is held still at that moment, damaged, and killed. A small database is through before anybody
 * sees the file: then it is tried again, and the last try is taken as it is.
 */
const CORRUPT_IN_DEFRAG = `
  for attempt in 1 2 3 4 5 6 7 8 9 10; do
    ${ETCDCTL} --command-timeout=60s defrag >/dev/null 2>&1 &
    defrag=$!
    while kill -0 "$defrag" 2>/dev/null; do
      set -- /var/lib/etcd/member/snap/db.tmp.*
      if [ -e "$1" ]; then
        pkill -STOP -x etcd
        break 2
      fi
    done
  done
  pkill -STOP -x etcd || true
  ${CORRUPT_DATABASE}
  ${KILL_ETCD}
  wait`

export const ETCD_DAMAGE: readonly Fault[] = [
  {
    name: 'wipe-data',
    describe: "The content of etcd's data directory is gone and its process is killed",
    available: always,
    inject: async (lab, host) => {
      // Twice: what the dying process still wrote goes too.
      await atConsole(lab, host, `${WIPE_DATA}; ${KILL_ETCD}; ${WIPE_DATA} || ${WIPE_DATA}`)
    },
  },
  {
    name: 'corrupt-database',
    describe: 'Pages of the database and the log of a running etcd are overwritten, then it is killed',
    available: always,
    inject: async (lab, host) => {
      await atConsole(lab, host, `${CORRUPT_DATABASE}; ${KILL_ETCD}`)
    },
  },
  {
    name: 'corrupt-in-defrag',
    describe: 'Under write load a defragmentation runs; in its middle the data is damaged and etcd killed',
    available: always,
    inject: async (lab, host) => {
      const load = await writeLoad(lab, { perSecond: 100 })
      try {
        await sleep(500)
        await atConsole(lab, host, CORRUPT_IN_DEFRAG)
      } finally {
        await load.stop()
      }
    },
  },
]
