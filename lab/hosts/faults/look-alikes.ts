import { z } from 'zod'
import { atConsole } from '../console.ts'
import { EtcdGateway } from '../etcd-gateway.ts'
import { ETCDCTL } from '../etcdctl.ts'
import { findHost, type LabHosts } from '../lab-hosts.ts'
import { KILL_ETCD } from './etcd-damage.ts'
import { always, type Fault } from './fault.ts'

const answered = z.looseObject({ header: z.looseObject({ member_id: z.string() }) })

/** Where good certificates and manifests wait for the mending; no kubelet and no etcd reads there. */
const KEPT = '/root/lab-kept'
const PKI = '/etc/kubernetes/pki/etcd'
const EXPIRED_NAMES = 'server peer healthcheck-client'

/**
 * The same keys and names, signed by the same authority for a year that is over. `openssl ca` is the one
 * command of openssl 3.0 that takes both dates.
 */
const EXPIRE_CERTIFICATES = `
  mkdir -p ${KEPT}/pki
  work=$(mktemp -d)
  cd "$work"
  touch index.txt
  printf '%s\\n' '[ca]' 'default_ca = lab' '[lab]' "dir = $work" 'database = $dir/index.txt' \\
    'new_certs_dir = $dir' 'rand_serial = yes' 'default_md = sha256' 'policy = any' 'copy_extensions = copy' \\
    'unique_subject = no' '[any]' 'commonName = supplied' 'organizationName = optional' >ca.cnf
  for name in ${EXPIRED_NAMES}; do
    cp -np ${PKI}/$name.crt ${KEPT}/pki/
    openssl x509 -x509toreq -copy_extensions copyall -in ${PKI}/$name.crt -key ${PKI}/$name.key -out $name.csr
    openssl ca -batch -notext -config ca.cnf -cert ${PKI}/ca.crt -keyfile ${PKI}/ca.key \\
      -startdate 20240101000000Z -enddate 20250101000000Z -in $name.csr -out $name.crt
    cat $name.crt >${PKI}/$name.crt
  done
  cd /
  rm -rf "$work"
  ${KILL_ETCD}`

/**
 * Room for what counts, and for twice the largest values again. bbolt keeps at least two keys on a leaf and copies a
 * whole leaf for each commit: beside 1 MB values a database of 13 MB grew by 3 MB with the next small writes, and the
 * alarm that had been cleared was back.
 */
const SMALL_QUOTA_BYTES = 16 * 1024 ** 2

/** The kubelet ignores names with a leading dot, so it never reads half a manifest. */
const replaceManifest = (edit: string): string => `
  sed ${edit} /etc/kubernetes/manifests/etcd.yaml >/etc/kubernetes/manifests/.etcd.yaml.new
  chmod 600 /etc/kubernetes/manifests/.etcd.yaml.new
  was=$(pgrep -x etcd || true)
  mv /etc/kubernetes/manifests/.etcd.yaml.new /etc/kubernetes/manifests/etcd.yaml
  until [ -n "$(pgrep -x etcd)" ] && [ "$(pgrep -x etcd)" != "$was" ]; do sleep 0.2; done
  until ${ETCDCTL} --command-timeout=2s endpoint health >/dev/null 2>&1; do sleep 0.5; done`

const API_MANIFEST = '/etc/kubernetes/manifests/kube-apiserver.yaml'
const CLOCK_DOUBLE = '/usr/local/bin/date'

/** What looks like a broken etcd and is something else. */
export const LOOK_ALIKES: readonly Fault[] = [
  {
    name: 'expire-certificates',
    describe: "The host's etcd certificates are replaced by ones of 2024, and etcd is killed",
    available: always,
    inject: async (lab, host) => {
      await atConsole(lab, host, EXPIRE_CERTIFICATES)
    },
    mend: async (lab, host) => {
      const script = `for good in ${KEPT}/pki/*.crt; do cat "$good" >${PKI}/$(basename "$good"); done; ${KILL_ETCD}`
      await atConsole(lab, host, script)
    },
  },
  {
    name: 'fill-quota',
    describe:
      'etcd on the host gets a small quota and is filled up to it, with 5 MB that count and more versions of them: the alarm NOSPACE, writes refused',
    available: always,
    inject: async (lab, host) => {
      const script = `
        ${replaceManifest(`'s/^    - etcd$/&\\n    - --quota-backend-bytes=${SMALL_QUOTA_BYTES}/'`)}
        value=$(mktemp)
        head -c 500000 /dev/zero | tr '\\0' x >"$value"
        number=0
        while [ "$number" -lt 100 ] && ${ETCDCTL} put "/registry/lab-filler/$((number % 10))" <"$value" >/dev/null 2>&1; do
          number=$((number + 1))
        done
        rm -f "$value"
        ${ETCDCTL} alarm list | grep -q NOSPACE`
      await atConsole(lab, host, script)
    },
    mend: async (lab, host) => {
      const script = `
        ${replaceManifest("'/--quota-backend-bytes=/d'")}
        ${ETCDCTL} del --prefix /registry/lab-filler/ >/dev/null || true
        ${ETCDCTL} alarm disarm >/dev/null`
      await atConsole(lab, host, script)
    },
  },
  {
    name: 'cut-peers',
    describe: 'The host and its peers reach each other no more; everybody else reaches all of them',
    available: always,
    inject: async (lab, host) => {
      await atConsole(lab, host, routes(lab, host, 'add'))
    },
    mend: async (lab, host) => {
      await atConsole(lab, host, routes(lab, host, 'del'))
    },
  },
  {
    name: 'accuse-member',
    describe:
      "etcd's alarm CORRUPT is raised and names this host's member, as its hash check would; its data is good",
    available: always,
    inject: (lab, host) => corruptAlarm(lab, host, 'ACTIVATE'),
    mend: (lab, host) => corruptAlarm(lab, host, 'DEACTIVATE'),
  },
  {
    name: 'freeze-api-server',
    describe: "The host's API server hangs; etcd and the other API servers are well",
    available: async (lab) => {
      const there = await Promise.all(
        lab.hosts.map(({ name }) => atConsole(lab, name, `test -e ${API_MANIFEST}`, [], { accept: [0, 1] })),
      )
      return there.every(({ exitCode }) => exitCode === 0)
        ? { available: true }
        : { available: false, why: 'its hosts run no API servers' }
    },
    inject: async (lab, host) => {
      await atConsole(lab, host, 'pkill -STOP -x kube-apiserver')
    },
    mend: async (lab, host) => {
      await atConsole(lab, host, 'pkill -CONT -x kube-apiserver || true')
    },
  },
  {
    name: 'skew-clock',
    // All hosts share the machine's clock, so this is a double: etcd itself goes on with the right time.
    describe: 'A double of a wrong clock: whoever asks `date` on the host hears a time an hour ahead',
    available: always,
    inject: async (lab, host) => {
      const double = `#!/bin/sh\nexec /usr/bin/date --date='+1 hour' "$@"\n`
      await atConsole(lab, host, `cat >${CLOCK_DOUBLE} && chmod 755 ${CLOCK_DOUBLE}`, [], { input: double })
    },
    mend: async (lab, host) => {
      await atConsole(lab, host, `rm -f ${CLOCK_DOUBLE}`)
    },
  },
]

async function corruptAlarm(
  lab: LabHosts,
  hostName: string,
  action: 'ACTIVATE' | 'DEACTIVATE',
): Promise<void> {
  const gateway = await EtcdGateway.connect(lab, [findHost(lab, hostName)])
  try {
    // Every member answers with its own ID, whatever it is asked.
    const { header } = await gateway.call('/v3/maintenance/status', {}, answered)
    const request = { action, memberID: header.member_id, alarm: 'CORRUPT' }
    await gateway.call('/v3/maintenance/alarm', request, z.unknown())
  } finally {
    gateway.close()
  }
}

function routes(lab: LabHosts, hostName: string, verb: 'add' | 'del'): string {
  const { name: own } = findHost(lab, hostName)
  return lab.hosts
    .filter(({ name }) => name !== own)
    .map(({ address }) => `ip route ${verb} blackhole ${address}/32`)
    .join('\n')
}
