import { humanSeconds, secondsBetween } from '../progress.ts'
import type { Certificate, Symptoms } from '../survey.ts'
import { names, type NodePicture, type Picture } from './picture.ts'
import { lookAgain, type Evidence, type NextStep, type Trouble } from './trouble.ts'
import { startEtcdAgain, stopEtcd } from './by-hand.ts'

/** etcd's own measure of a peer whose clock drifts (rafthttp warns from one second on). */
const DRIFT_MS = 1_000
/**
 * From here on a clock is a trouble of its own: leader election of Kubernetes' controllers gives up a lease
 * after ten seconds without renewal, and tokens and certificates begin to be early or late.
 */
const WRONG_MS = 10_000
const EXPIRES_SOON_DAYS = 14
const DAY_MS = 86_400_000

interface Clock {
  readonly node: NodePicture
  /** Against the middle of all nodes, beyond any doubt about the measurement; signed. */
  readonly offMs: number
}

/**
 * Clocks are held against each other and not against ours: etcd's members never meet our clock. The middle one
 * is believed, so one wrong clock of three is found, and ours alone being wrong changes nothing.
 */
export function driftingClocks(picture: Picture): Clock[] {
  const measured = picture.nodes.flatMap((node) =>
    node.seen === null ? [] : [{ node, ...bestMeasure(picture, node) }],
  )
  if (measured.length < 2) return []
  // Of two, neither is the middle: then ours decides.
  const inOrder = measured.toSorted((a, b) =>
    measured.length === 2 ? Math.abs(a.skewMs) - Math.abs(b.skewMs) : a.skewMs - b.skewMs,
  )
  const middle = inOrder[measured.length === 2 ? 0 : Math.floor(measured.length / 2)]
  if (middle === undefined) return []
  return measured.flatMap(({ node, skewMs, errorMs }) => {
    const difference = skewMs - middle.skewMs
    const beyond = Math.abs(difference) - errorMs - middle.errorMs
    return beyond < DRIFT_MS ? [] : [{ node, offMs: Math.sign(difference) * beyond }]
  })
}

/** Certificates that a wrong clock makes invalid, and clocks that are wrong by themselves. */
export function wrongClock(picture: Picture): Trouble | null {
  const clocks = driftingClocks(picture)
  const wrong = clocks.filter(({ node, offMs }) => {
    const judged = invalidCertificates(node, offMs)
    return Math.abs(offMs) >= WRONG_MS || judged.onlyByItsClock.length > 0
  })
  if (wrong.length === 0) return null
  const nodes = wrong.map(({ node }) => node)
  return {
    kind: 'hands-off',
    nodes: nodes.map(({ name }) => name),
    summary: `The clock of ${names(nodes)} is wrong. Leave etcd and its data alone and set the clock.`,
    evidence: wrong.flatMap(({ node, offMs }): Evidence[] => [
      { node: node.name, fact: clockFact(node, offMs) },
      ...invalidCertificates(node, offMs).onlyByItsClock.map((certificate) => ({
        node: node.name,
        fact: `${certificateFact(certificate)}: by this clock it is not valid, by the others it is`,
      })),
    ]),
    next: [
      ...nodes.map(({ name }): NextStep => ({
        on: name,
        say: `Look why ${name} has no right time, and set it.`,
        commands: [
          'timedatectl',
          'systemctl restart chrony chronyd systemd-timesyncd ntpsec 2>/dev/null; timedatectl timesync-status',
        ],
      })),
      lookAgain(picture.config.cluster, 'Then look again.'),
    ],
  }
}

/** etcd refuses every connection then, its peers' and ours: a cluster with all its data looks dead. */
export function expiredCertificates(picture: Picture): Trouble | null {
  const found = picture.nodes
    .map((node) => ({ node, certificates: invalidCertificates(node, offOf(picture, node)).always }))
    .filter(({ certificates }) => certificates.length > 0)
  if (found.length === 0) return null
  const nodes = found.map(({ node }) => node)
  const all = found.flatMap(({ certificates }) => certificates)
  const authority = all.some(({ name }) => name.endsWith('-ca'))
  const { config } = picture
  return {
    kind: 'expired-certificates',
    nodes: nodes.map(({ name }) => name),
    summary: `Certificates on ${names(nodes)} have expired. The data is not in question: renew them, restore nothing.`,
    evidence: [
      ...found.flatMap(({ node, certificates }) =>
        certificates.map((certificate) => ({ node: node.name, fact: certificateFact(certificate) })),
      ),
      ...silentNodes(picture),
    ],
    next: authority
      ? [
          {
            on: null,
            say: 'An authority itself has expired. kubeadm renews none: a new one has to be made, everything below it signed anew, and all nodes have to trust both meanwhile (kubernetes.io: "Manual Rotation of CA Certificates").',
            commands: [],
          },
        ]
      : [
          ...nodes.map(({ name }): NextStep => ({
            on: name,
            say: 'Renew them all; kubeadm keeps keys of authorities and needs no API server for it.',
            commands: ['kubeadm certs check-expiration', 'kubeadm certs renew all'],
          })),
          ...nodes.map(({ name }): NextStep => ({
            on: name,
            say: 'Start etcd with them, one node after the other; then the same for kube-apiserver, kube-controller-manager and kube-scheduler.',
            commands: [...stopEtcd(config), ...startEtcdAgain(config)],
          })),
          lookAgain(config.cluster, 'Then look again.'),
        ],
  }
}

/** What has not happened yet, or does no harm yet. */
export function timeFindings(picture: Picture): Evidence[] {
  const soon = picture.nodes.flatMap((node) =>
    certificatesOf(node).flatMap((certificate) => {
      const left = daysLeft(certificate, node.seen?.symptoms)
      return left !== null && left >= 0 && left < EXPIRES_SOON_DAYS
        ? [
            {
              node: node.name,
              fact: `${certificate.name} expires in ${humanSeconds(left * 86_400)} (${certificate.path})`,
            },
          ]
        : []
    }),
  )
  const drifting = driftingClocks(picture)
    .filter(({ offMs }) => Math.abs(offMs) < WRONG_MS)
    .map(({ node, offMs }) => ({ node: node.name, fact: clockFact(node, offMs) }))
  return [...soon, ...drifting]
}

/** Nobody's clock but the node's judges there; where that is wrong, what the others' would say is told apart. */
function invalidCertificates(
  node: NodePicture,
  offMs: number,
): { always: Certificate[]; onlyByItsClock: Certificate[] } {
  const own = Date.parse(node.seen?.symptoms?.clock ?? '')
  const certificates = certificatesOf(node)
  const invalidAt = (now: number): Certificate[] =>
    certificates.filter(
      ({ valid }) => valid !== null && (Date.parse(valid.until) < now || Date.parse(valid.from) > now),
    )
  const byIts = invalidAt(own)
  const byOthers = invalidAt(own - offMs)
  return {
    always: byOthers,
    onlyByItsClock: byIts.filter((certificate) => !byOthers.includes(certificate)),
  }
}

/** Each file once, however many flags name it. */
function certificatesOf(node: NodePicture): Certificate[] {
  const seen = new Map<string, Certificate>()
  for (const certificate of node.seen?.symptoms?.certificates ?? []) {
    if (!seen.has(certificate.path)) seen.set(certificate.path, certificate)
  }
  return [...seen.values()]
}

function certificateFact({ name, path, valid }: Certificate): string {
  return `${name}: valid from ${valid?.from ?? '?'} until ${valid?.until ?? '?'} (${path})`
}

function silentNodes(picture: Picture): Evidence[] {
  return picture.nodes
    .filter(({ condition }) => condition !== 'well')
    .map(({ name, fact }) => ({ node: name, fact }))
}

function clockFact(node: NodePicture, offMs: number): string {
  const side = offMs < 0 ? 'behind' : 'ahead of'
  return `its clock says ${node.seen?.symptoms?.clock ?? '?'}, at least ${humanSeconds(Math.abs(offMs) / 1_000)} ${side} the other nodes'`
}

function offOf(picture: Picture, node: NodePicture): number {
  return driftingClocks(picture).find((clock) => clock.node.name === node.name)?.offMs ?? 0
}

function daysLeft({ valid }: Certificate, symptoms: Symptoms | undefined): number | null {
  return valid === null || symptoms === undefined
    ? null
    : (secondsBetween(symptoms.clock, valid.until) * 1_000) / DAY_MS
}

/** Of all looks the one that was least in doubt. */
function bestMeasure(picture: Picture, node: NodePicture): { skewMs: number; errorMs: number } {
  const measures = picture.looks.flatMap((look) =>
    look.flatMap((one) =>
      one.node === node.name && one.reached
        ? [{ skewMs: one.clockSkewMs, errorMs: one.symptoms?.clockErrorMs ?? 2_000 }]
        : [],
    ),
  )
  return measures.reduce((best, next) => (next.errorMs < best.errorMs ? next : best), {
    skewMs: 0,
    errorMs: Infinity,
  })
}
