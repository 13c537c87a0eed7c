import { readFileSync } from 'node:fs'
import { RequorumError } from '../../domain/failures.ts'
import { FENCED_MANIFESTS } from '../../domain/node-paths.ts'
import type { MemberSilence, MemberStatus, NodeSurvey, ReachedNode } from '../../domain/survey.ts'
import { lastLine, type ControlPlaneNode } from './control-plane-node.ts'
import { LOCK_FILE } from './node.ts'
import { readSymptoms, type Facts } from './symptoms.ts'

/** A few process and file look-ups. A person waits for the name of a node that is dead. */
const FACTS_TIMEOUT_MS = 15_000

/** Where kubelets put the logs of static pods (kubelet's podLogsDir). */
const POD_LOGS = '/var/log/pods'

const FACTS_SCRIPT = readFileSync(new URL('./node-facts.sh', import.meta.url), 'utf8')

/**
 * One look at one node: what stands on its disk, what runs, and what its etcd says. Changes nothing.
 * A node that can't be reached is an answer; a login that is refused is an error, because it needs mending.
 *
 * @param options.probeApiServer - whether to wait for its answer too, for seconds where its etcd is gone
 * @throws RequorumError `host-key-refused`, `ssh-login-refused`, `sudo-refused`, `step-failed`.
 */
export async function surveyNode(
  at: ControlPlaneNode,
  now: () => Date,
  askMember: (at: ControlPlaneNode) => Promise<MemberStatus | MemberSilence>,
  { probeApiServer = false } = {},
): Promise<NodeSurvey> {
  try {
    const asked = now().getTime()
    const facts = await readFacts(at, probeApiServer)
    const answered = now().getTime()
    const etcdPids = facts.all('etcd-pid').map(Number)
    // The middle of the look by both clocks: however long the node thinks, it adds no error.
    const clock = (Number(facts.one('clock')) + Number(facts.one('clock-end'))) / 2
    return {
      node: at.node.name,
      reached: true,
      bootId: facts.one('boot'),
      clockSkewMs: Math.round(clock - (asked + answered) / 2),
      // Without a process there is nobody to wait for until a command times out.
      member: etcdPids.length > 0 ? await askMember(at) : { answers: false, reason: 'no etcd process runs' },
      etcdPids,
      staticPods: facts.all('pod').sort(),
      strayManifests: facts.all('stray').sort(),
      etcdManifest: textOf(facts.maybe('etcd-manifest')),
      ...readFenced(facts),
      dataDir: {
        path: facts.one('data-dir'),
        exists: facts.maybe('data-exists') !== null,
        bytes: Number(facts.maybe('data-bytes') ?? 0),
        isMount: facts.maybe('data-mount') !== null,
        isLink: facts.maybe('data-link') !== null,
        owner: facts.maybe('data-owner') ?? '',
        mode: facts.maybe('data-mode') ?? '',
      },
      snapshotRoomBytes: Number(facts.one('snapshot-room')),
      dataRoomBytes: Number(facts.one('data-room')),
      tools: { etcdctl: facts.one('etcdctl') || null, etcdutl: facts.one('etcdutl') || null },
      lock: readLock(facts.maybe('lock')),
      symptoms: readSymptoms(facts, answered - asked),
    }
  } catch (error) {
    if (
      error instanceof RequorumError &&
      ['node-unreachable', 'connection-lost', 'command-timed-out'].includes(error.code)
    ) {
      return { node: at.node.name, reached: false, reason: error.text.why ?? error.text.what }
    }
    throw error
  }
}

async function readFacts(at: ControlPlaneNode, probeApiServer: boolean): Promise<Facts> {
  const { etcd, backup } = at.config
  const result = await at.shell.script(
    at.node,
    FACTS_SCRIPT,
    [
      ...[etcd.manifests, etcd.dataDir, backup.directory, etcd.etcdctl, etcd.etcdutl, LOCK_FILE],
      ...[etcd.caCert, etcd.cert, POD_LOGS, probeApiServer ? 'yes' : 'no', FENCED_MANIFESTS],
    ],
    { timeoutMs: FACTS_TIMEOUT_MS },
  )
  const lines = result.stdout.split('\n').map((line) => {
    const at = line.indexOf('=')
    return [line.slice(0, at), line.slice(at + 1)] as const
  })
  const all = (key: string): string[] => lines.filter(([name]) => name === key).map(([, value]) => value)
  return {
    all,
    maybe: (key) => all(key)[0] ?? null,
    one: (key) => {
      const value = all(key)[0]
      if (value !== undefined) return value
      throw new RequorumError('step-failed', {
        what: `${at.node.name}: the survey of the node gave no "${key}".`,
        why: lastLine(result.stderr) || `it ended with code ${result.code}`,
        todo: 'Check that the node has a POSIX shell, coreutils and a readable /proc.',
      })
    },
  }
}

function readFenced(facts: Facts): Pick<ReachedNode, 'fenced'> {
  const pods = facts.all('fenced').sort()
  return pods.length === 0
    ? {}
    : { fenced: { pods, etcdManifest: textOf(facts.maybe('fenced-etcd-manifest')) } }
}

function readLock(encoded: string | null): ReachedNode['lock'] {
  if (encoded === null) return null
  const [owner = '', since = ''] = decode(encoded).trim().split('\n')
  return { owner, since }
}

function textOf(encoded: string | null): string | null {
  return encoded === null ? null : decode(encoded)
}

function decode(base64: string): string {
  return Buffer.from(base64, 'base64').toString('utf8')
}
