import { atConsole } from '../console.ts'
import { KILL_ETCD } from './etcd-damage.ts'
import { always, type Fault } from './fault.ts'

const FLAPPER = 'lab-flap-etcd'
/** How fast the stand-in for the kubelet is: 1 is a real one's pace, and none a tenth of it. */
const KUBELET_PACE = '/run/kubelet-pace'
/** Up for longer than etcd takes to join, down for as long as the kubelet's back-off is. */
const UP_SECONDS = 8

export const ETCD_PROCESS: readonly Fault[] = [
  {
    name: 'crash-etcd',
    describe: 'etcd is killed; the kubelet starts it again',
    available: always,
    inject: async (lab, host) => {
      await atConsole(lab, host, KILL_ETCD)
    },
  },
  {
    name: 'flap-etcd',
    describe: `etcd is killed ${UP_SECONDS} seconds after each start, again and again`,
    available: always,
    inject: async (lab, host) => {
      const script = `
        echo 0.05 >${KUBELET_PACE}   # a real back-off grows to five minutes; this one stays short
        systemd-run --quiet --collect --unit=${FLAPPER} /bin/sh -c '
          while :; do
            until pgrep -x etcd >/dev/null; do sleep 0.2; done
            sleep ${UP_SECONDS}
            ${KILL_ETCD}
          done'
        ${KILL_ETCD}`
      await atConsole(lab, host, script)
    },
    mend: async (lab, host) => {
      // A fresh kubelet has forgotten its back-off.
      await atConsole(
        lab,
        host,
        `systemctl stop ${FLAPPER}; rm -f ${KUBELET_PACE}; systemctl restart kubelet`,
      )
    },
  },
  {
    name: 'slow-kubelet',
    describe:
      'The kubelet takes seconds to notice a manifest, to start its pod and to try again, as on a busy node',
    available: (lab) =>
      lab.profile === 'etcd'
        ? always()
        : Promise.resolve({ available: false, why: 'a real kubelet takes the time that it takes' }),
    inject: async (lab, host) => {
      await atConsole(lab, host, `echo 1 >${KUBELET_PACE}`)
    },
    mend: async (lab, host) => {
      await atConsole(lab, host, `rm -f ${KUBELET_PACE}`)
    },
  },
  {
    name: 'stop-etcd',
    describe: 'The kubelet is stopped and etcd with it; data and manifest are untouched',
    available: always,
    inject: async (lab, host) => {
      await atConsole(lab, host, "systemctl stop kubelet; systemctl stop 'static-pod-etcd-*'")
    },
    mend: async (lab, host) => {
      await atConsole(lab, host, 'systemctl start kubelet')
    },
  },
  {
    name: 'freeze-etcd',
    describe: 'etcd hangs: its process and its connections are there, and nothing answers',
    available: always,
    inject: async (lab, host) => {
      await atConsole(lab, host, 'pkill -STOP -x etcd')
    },
    mend: async (lab, host) => {
      await atConsole(lab, host, 'pkill -CONT -x etcd || true')
    },
  },
]
