/**
 * Three nodes, a store and a schedule in memory, behind the hands that workflows know. It records what the
 * workflow asks for, in order, and does it well enough that the state afterwards can be compared with before.
 */
import type { Activities } from '../../activities/index.ts'
import type { AsideFound, NodeAside } from '../../domain/clean-up-plan.ts'
import type { ClusterConfig } from '../../domain/cluster-config.ts'
import type { Marker } from '../../domain/drill-measure.ts'
import { withFullMemberList } from '../../domain/etcd-manifest.ts'
import { RequorumError, type FailureCode } from '../../domain/failures.ts'
import type { Answered } from '../../domain/fence.ts'
import type { NodeAction } from '../../domain/node-actions.ts'
import { FENCED_MANIFESTS, recoveryDir } from '../../domain/node-paths.ts'
import { digestOfWhole, sha256OfText } from '../../domain/plan-step.ts'
import type { BeforeRestore, ManifestFound } from '../../domain/roll-back-plan.ts'
import { attestationKey, type Attestation, type RehearsedFacts } from '../../domain/rehearsal.ts'
import type { Mark, RecoveryRecord } from '../../domain/recovery-record.ts'
import type { Catalogue, SavedSnapshot, SnapshotManifest, ProvedSnapshot } from '../../domain/snapshot.ts'
import { prove } from '../../domain/snapshot.ts'
import { NO_LEADER, type Member, type NodeSurvey, type ReachedNode } from '../../domain/survey.ts'
import { monthlyKeyOf } from '../../domain/retention.ts'
import { etcdId, revision, sha256 } from '../../domain/values.ts'
import { isCheckName, listChecks, type CheckName } from '../../domain/validation/checks.ts'
import { pass, type Finding } from '../../domain/validation/finding.ts'
import { madeCheck } from '../../domain/validation/verdict.ts'
import type { Check } from '../../domain/verdict.ts'
import {
  answering,
  clusterConfig,
  kubeadmManifest,
  MEMBER_IDS,
  MEMBERS,
  NAMES,
  reached,
  SILENT,
  snapshotOf,
} from '../unit/examples.ts'

export interface Call {
  readonly activity: keyof Activities
  /** null for what concerns the whole cluster. */
  readonly node: string | null
  /** What is done, where the name of the activity doesn't say it: `stop-pods etcd`, a key. */
  readonly what: string
  readonly phase: 'begins' | 'ends' | 'fails'
}

export type Asked = Pick<Call, 'activity' | 'node' | 'what'>

interface Fault {
  readonly on: (asked: Asked) => boolean
  readonly error: Error
  /** Whether the effect has come about when it fails. */
  readonly after: boolean
  left: number
}

interface ModelNode {
  manifests: Map<string, string>
  fenced: Map<string, string>
  kept: Map<string, string>
  data: string | null
  beside: Map<string, string>
  /** Recoveries that found no data to set aside. */
  dataWasAbsent: Set<string>
  /** What a clean-up finds. */
  aside: AsideFound[]
  lock: string | null
  staged: Set<string>
  journal: string | null
  recorded: Map<string, { record: RecoveryRecord; marks: Partial<Record<Mark, string>> }>
  fenceJournal: string | null
  /** Of etcd's database: the file, and what of it is used. */
  dbSizeBytes: number
  dbSizeInUseBytes: number
}

export const RESTORED_ID = etcdId.parse('00c0ffee00c0ffee')

export class ModelCluster {
  readonly name: string
  config: ClusterConfig
  readonly nodes = new Map<string, ModelNode>()
  readonly calls: Call[] = []
  readonly #receipts = new Set<string>()
  /** Newest first. */
  proved: ProvedSnapshot[]
  refused: Catalogue['refused'] = []
  lineages: Catalogue['lineages'] = []
  schedule: { paused: boolean; note: string } | null = { paused: false, note: '' }
  /** The cluster answers as a healthy one does. */
  quorum = false
  /** The member list, as the quorum has it. */
  members: Member[] = [...MEMBERS]
  /** What the comparison of members finds. */
  agreement = { equal: true, evidence: 'cp-01 abc, cp-02 abc at revision 48211' }
  /** Nodes that are switched off: nobody reaches them. */
  readonly off = new Set<string>()
  /** What is heard of nodes that were stated to be off. */
  heard: Answered[] = []
  /** What is wrong with the certificates of a node that was made anew. */
  certificates: string[] = []
  /** Has the last word on what a survey finds. */
  seen: (found: ReachedNode) => NodeSurvey = (found) => found
  /** What the validation finds. */
  checks: Check[] = [{ name: 'members', verdict: 'pass', evidence: '3 voters' }]
  /** What checks of `validate` find, where they find anything but good. */
  found: Partial<Record<CheckName, Finding>> = {}
  removal: Finding = pass('removed after 3.0 s')
  /** The canaries that are in the cluster, by the run that made them. */
  readonly canaries = new Set<string>()
  /** What each check was asked for. */
  readonly checksAsked: Parameters<Activities['runCheck']>[0][] = []
  saved: Partial<SavedSnapshot> = {}
  /** Who leads when a survey or a wait looks. */
  leads = 'cp-01'
  /** The nodes for whose member the alarm NOSPACE stands. */
  outOfSpace: string[] = []
  /** What old revisions take in each database. */
  oldRevisionsBytes = 15_000_000
  /** Copies from before a compaction, by node. */
  readonly copies = new Map<string, string>()
  /** What every node knows of earlier recoveries. */
  known: NodeAside['recoveries'] = []
  /** What a rehearsal finds, where it isn't what the manifest says. */
  rehearsed: (facts: RehearsedFacts) => RehearsedFacts | { failed: string } = (facts) => facts
  /** Newest first. */
  readonly attestations: Attestation[] = []
  /** Runs that go on, as locks name them. */
  alive: readonly string[] = []
  /** What was said of alarms, in its order. */
  readonly alarms: string[] = []
  /** Nodes that carry the mark for drills. */
  marked: readonly string[] = NAMES
  /** How many snapshots were proved when a drill broke the cluster. */
  provedAtBreak = 0
  /** The keys of the markers that a drill wrote, each with the snapshots that were proved before it. */
  readonly markers = new Map<string, number>()
  readonly #faults: Fault[] = []
  readonly #gates: { on: (asked: Asked) => boolean; opened: Promise<void>; open: () => void }[] = []
  readonly #arrivals: { on: (asked: Asked) => boolean; arrived: () => void }[] = []

  constructor(
    name: string,
    differs: Parameters<typeof clusterConfig>[0] & { pods?: readonly string[] } = {},
  ) {
    const { pods = ['etcd'], ...fields } = differs
    this.name = name
    this.config = clusterConfig({ ...fields, cluster: name })
    this.proved = ['2026-11-22T02:00:00.000Z', '2026-11-21T20:00:00.000Z'].map((takenAt) =>
      snapshotOf(takenAt, { cluster: name }),
    )
    for (const node of NAMES) this.addNode(node, pods)
  }

  /** A node with the lab's kind of manifest, which gives any further one the second's. */
  addNode(node: string, pods: readonly string[] = ['etcd']): void {
    this.nodes.set(node, {
      manifests: new Map(
        pods.map((pod) => [
          pod,
          pod === 'etcd' ? kubeadmManifest(NAMES.includes(node) ? node : 'cp-02') : `# ${pod}`,
        ]),
      ),
      fenced: new Map(),
      kept: new Map(),
      data: node === 'cp-03' ? null : `data of ${node}`,
      beside: new Map(),
      dataWasAbsent: new Set(),
      aside: [],
      lock: null,
      staged: new Set(),
      journal: null,
      recorded: new Map(),
      fenceJournal: null,
      dbSizeBytes: 25_000_000,
      dbSizeInUseBytes: 20_000_000,
    })
  }

  /** Everything that law 2 wants back after a failure: manifests, data, locks, the schedule. */
  live(): unknown {
    return {
      nodes: [...this.nodes].map(([name, node]) => ({
        name,
        manifests: [...node.manifests].sort(),
        fenced: [...node.fenced].sort(),
        data: node.data,
        lock: node.lock,
      })),
      schedule: this.schedule?.paused ?? null,
    }
  }

  /** Makes what matches fail, `times` times; the effect has come about before it where `after` says so. */
  fail(
    on: (asked: Asked) => boolean,
    {
      code = 'step-refused',
      times = 1,
      after = false,
    }: { code?: FailureCode; times?: number; after?: boolean } = {},
  ): void {
    const error = new RequorumError(code, {
      what: `The model fails with ${code}.`,
      why: 'a test wants it',
      todo: 'Nothing.',
    })
    this.#faults.push({ on, error, after, left: times })
  }

  /** Holds what matches until it is let go. */
  hold(on: (asked: Asked) => boolean): { arrived: Promise<void>; release: () => void } {
    const gate = Promise.withResolvers<void>()
    const arrival = Promise.withResolvers<void>()
    this.#gates.push({ on, opened: gate.promise, open: () => gate.resolve() })
    this.#arrivals.push({ on, arrived: () => arrival.resolve() })
    return { arrived: arrival.promise, release: () => gate.resolve() }
  }

  /** Opens every gate. */
  letGo(): void {
    for (const { open } of this.#gates) open()
  }

  /** What was begun, as `activity` or `activity: what`, each step of several nodes once: `… ×3`. */
  outline(): string[] {
    const lines: { text: string; count: number }[] = []
    for (const { activity, what, phase } of this.calls) {
      if (phase !== 'begins') continue
      const text = what === '' ? activity : `${activity}: ${what}`
      const last = lines.at(-1)
      if (last?.text === text) last.count += 1
      // These two go on at once, and either may be the first to be taken up.
      else if (activity === 'storeSnapshot' && last?.text === 'takeInventory')
        lines.splice(-1, 0, { text, count: 1 })
      else lines.push({ text, count: 1 })
    }
    return lines.map(({ text, count }) => (count === 1 ? text : `${text} ×${count}`))
  }

  begun(activity: keyof Activities): Call[] {
    return this.calls.filter((call) => call.activity === activity && call.phase === 'begins')
  }

  survey(node: string): NodeSurvey {
    const model = this.#node(node)
    if (this.off.has(node)) return { node, reached: false, reason: 'connect EHOSTUNREACH' }
    const restored = [...this.nodes].flatMap(([name, { data, manifests }]) =>
      data?.startsWith('restored') && manifests.has('etcd') && !this.off.has(name) ? [name] : [],
    )
    const here = model.data !== 'a broken log' && this.#planted() * 2 < this.nodes.size
    const healthy =
      (this.quorum && here) ||
      (restored.includes(node) && this.members.every(({ name }) => restored.includes(name)))
    const rest = this.quorum
      ? {}
      : {
          clusterId: RESTORED_ID,
          members: this.members,
          revision: revision.parse((1_000_000_000n + BigInt(this.proved[0]?.revision ?? '0')).toString()),
        }
    return this.seen(
      reached(node, {
        member: healthy ? answering(node, { ...rest, ...this.#space(model) }) : SILENT,
        etcdPids: healthy ? [812] : [],
        staticPods: [...model.manifests.keys()].sort(),
        etcdManifest: model.manifests.get('etcd') ?? null,
        ...(model.fenced.size === 0
          ? {}
          : {
              fenced: {
                pods: [...model.fenced.keys()].sort(),
                etcdManifest: model.fenced.get('etcd') ?? null,
              },
            }),
        dataDir: {
          path: '/var/lib/etcd',
          exists: model.data !== null,
          bytes: model.data === null ? 0 : 1_000_000,
          isMount: false,
          owner: model.data === null ? '' : '0:0',
          mode: model.data === null ? '' : '700',
        },
        lock: model.lock === null ? null : { owner: model.lock, since: '2026-11-22T02:14:00Z' },
      }),
    )
  }

  readonly hands: Activities = {
    loadCluster: () => this.#did({ activity: 'loadCluster', node: null, what: '' }, () => this.config),
    surveyNode: ({ node }) => this.#did({ activity: 'surveyNode', node, what: '' }, () => this.survey(node)),
    lockNode: ({ node }, owner) =>
      this.#did({ activity: 'lockNode', node, what: '' }, () => {
        const model = this.#node(node)
        if (model.lock !== null && model.lock !== owner) {
          throw new RequorumError('lock-held', { what: `${node} is held by ${model.lock}.`, todo: 'Wait.' })
        }
        model.lock = owner
      }),
    unlockNode: ({ node }, owner) =>
      this.#did({ activity: 'unlockNode', node, what: '' }, () => {
        const model = this.#node(node)
        if (model.lock === owner) model.lock = null
      }),
    writeJournal: ({ node }, _recovery, text, record) =>
      this.#did({ activity: 'writeJournal', node, what: '' }, () => {
        const model = this.#node(node)
        model.journal = text
        if (record === undefined) return
        const known = model.recorded.get(record.recovery)
        model.recorded.set(record.recovery, { record, marks: known?.marks ?? {} })
      }),
    markRecovery: ({ node }, recovery, mark, text) =>
      this.#did({ activity: 'markRecovery', node, what: mark }, () => {
        const found = this.#node(node).recorded.get(recovery)
        if (found !== undefined) found.marks[mark] ??= text
      }),
    recordedRecoveries: ({ node }) =>
      this.#did({ activity: 'recordedRecoveries', node, what: '' }, () =>
        [...this.#node(node).recorded.values()].toReversed().map(({ record, marks }) => {
          const { recovery, runbook, owner, startedAt, plan } = record
          return { recovery, runbook, owner, startedAt, digest: digestOfWhole(plan), marks, lastDone: '' }
        }),
      ),
    readRecoveryRecord: ({ node }, recovery) =>
      this.#did({ activity: 'readRecoveryRecord', node, what: '' }, () => {
        const found = this.#node(node).recorded.get(recovery)
        if (found === undefined) throw new Error(`${node} has no record of ${recovery}`)
        return found.record
      }),
    takeOverLock: ({ node }, from, owner) =>
      this.#did({ activity: 'takeOverLock', node, what: '' }, () => {
        const model = this.#node(node)
        if (model.lock === null || model.lock === from) model.lock = owner
        if (model.lock === owner) return
        throw new RequorumError('lock-held', { what: `${node} is held by ${model.lock}.`, todo: 'Wait.' })
      }),
    performAction: ({ node }, recovery, step, action) =>
      this.#did({ activity: 'performAction', node, what: verb(action) }, () => {
        // What was done once is found by its receipt, whoever asks for it.
        const receipt = JSON.stringify([node, recovery, step])
        if (this.#receipts.has(receipt)) return `found: ${action.kind}`
        this.#receipts.add(receipt)
        perform(this.#node(node), recovery, action)
        this.members = withMember(this.members, action)
        if (action.kind === 'plant-broken-log') this.provedAtBreak = this.proved.length
        if (action.kind === 'compact') this.#compact()
        return `done: ${action.kind}`
      }),
    stageSnapshot: ({ node }, snapshot) =>
      this.#did({ activity: 'stageSnapshot', node, what: snapshot.key }, () => {
        this.#node(node).staged.add(snapshot.sha256)
        return 'staged'
      }),
    unstageSnapshot: ({ node }, digest) =>
      this.#did(
        { activity: 'unstageSnapshot', node, what: '' },
        () => void this.#node(node).staged.delete(digest),
      ),
    awaitPeerPort: ({ node }) => this.#did({ activity: 'awaitPeerPort', node, what: '' }, () => 'it serves'),
    awaitApiServers: () => this.#did({ activity: 'awaitApiServers', node: null, what: '' }, () => 'ready'),
    awaitRestoredCluster: () =>
      this.#did({ activity: 'awaitRestoredCluster', node: null, what: '' }, () => ({
        clusterId: RESTORED_ID,
        evidence: '3 members, one leader',
      })),
    disarmAndProbe: ({ node }) =>
      this.#did({ activity: 'disarmAndProbe', node, what: '' }, () => 'a write went through'),
    validateCluster: () =>
      this.#did({ activity: 'validateCluster', node: null, what: '' }, () => this.checks),

    compareMembers: (_cluster, names) =>
      this.#did({ activity: 'compareMembers', node: null, what: names.join(' ') }, () => this.agreement),
    certificateFaults: ({ node }) =>
      this.#did({ activity: 'certificateFaults', node, what: '' }, () => this.certificates),
    memberIds: () =>
      this.#did({ activity: 'memberIds', node: null, what: '' }, () => this.members.map(({ id }) => id)),

    awaitCaughtUp: () =>
      this.#did({ activity: 'awaitCaughtUp', node: null, what: '' }, () => ({
        leader: this.leads,
        members: [...this.nodes].map(([node, { dbSizeBytes, dbSizeInUseBytes }]) => ({
          node,
          dbSizeBytes,
          dbSizeInUseBytes,
        })),
        evidence: `${this.leads} leads`,
      })),
    awaitCompacted: () =>
      this.#did({ activity: 'awaitCompacted', node: null, what: '' }, () => 'nothing more is freed'),
    disarmSpaceAlarms: ({ node }) =>
      this.#did({ activity: 'disarmSpaceAlarms', node, what: '' }, () => {
        const cleared = this.outOfSpace.map((one) => `NOSPACE of ${one}`)
        this.outOfSpace = []
        return cleared
      }),
    knock: (_cluster, from, off) =>
      this.#did({ activity: 'knock', node: null, what: `${from.join(' ')} at ${off.join(' ')}` }, () =>
        this.heard.filter(({ node }) => off.includes(node)),
      ),
    writeFenceJournal: ({ node }, text) =>
      this.#did({ activity: 'writeFenceJournal', node, what: '' }, () => {
        this.#node(node).fenceJournal = text
      }),
    listAside: ({ node }, dataDir) =>
      this.#did({ activity: 'listAside', node, what: '' }, () => ({
        node,
        dataDir,
        entries: [...this.#node(node).aside],
        recoveries: this.known,
      })),
    factsBeforeRestore: ({ node }, recovery, { aside }) =>
      this.#did({ activity: 'factsBeforeRestore', node, what: '' }, () =>
        factsOf(node, this.#node(node), recovery, aside),
      ),
    discardCopy: ({ node }) =>
      this.#did({ activity: 'discardCopy', node, what: '' }, () => void this.copies.delete(node)),

    markedForDrills: () =>
      this.#did({ activity: 'markedForDrills', node: null, what: '' }, () => [...this.marked]),
    writeMarkers: ({ node }, drill, names) =>
      this.#did({ activity: 'writeMarkers', node, what: names.join(' ') }, () =>
        names.map((name): Marker => {
          const key = `${drill}/${name}`
          this.markers.set(key, this.proved.length)
          const at = new Date().toISOString()
          return { key, at, revision: revision.parse(String(48_000 + this.markers.size)) }
        }),
      ),
    // What a restore takes back is what was written after the snapshot.
    findMarkers: () =>
      this.#did({ activity: 'findMarkers', node: null, what: '' }, () =>
        [...this.markers].flatMap(([key, before]) =>
          this.#restored() && before >= this.provedAtBreak ? [] : [key],
        ),
      ),
    removeMarkers: () =>
      this.#did({ activity: 'removeMarkers', node: null, what: '' }, () => this.markers.clear()),
    awaitFirstWrite: () =>
      this.#did({ activity: 'awaitFirstWrite', node: null, what: '' }, () =>
        this.#restored() || this.#planted() <= 1 ? { at: new Date().toISOString(), node: 'cp-01' } : null,
      ),
    holdsBrokenLog: ({ node }) =>
      this.#did(
        { activity: 'holdsBrokenLog', node, what: '' },
        () => this.#node(node).data === 'a broken log',
      ),

    saveSnapshot: ({ node, path, takenAt }) =>
      this.#did({ activity: 'saveSnapshot', node, what: '' }, (): SavedSnapshot => {
        if (path.includes('before-compaction')) this.copies.set(node, path)
        return {
          node,
          path,
          takenAt,
          sha256: sha256.parse('d'.repeat(64)),
          sizeBytes: 25_000_032,
          revision: revision.parse('1000048100'),
          totalKeys: 4_200,
          liveKeys: 4_000,
          hash: '0badcafe',
          ...this.saved,
        }
      }),
    takeInventory: ({ node }) =>
      this.#did(
        { activity: 'takeInventory', node, what: '' },
        () => this.proved[0]?.inventory ?? { skipped: 'none' },
      ),
    keyFingerprints: ({ node }) =>
      this.#did({ activity: 'keyFingerprints', node, what: '' }, () => ({
        saPub: null,
        encryptionConfig: null,
      })),
    storeSnapshot: (saved, key) =>
      this.#did({ activity: 'storeSnapshot', node: saved.node, what: area(key) }, () => ({
        key,
        versionId: `v-${key}`,
        sizeBytes: saved.sizeBytes,
        sha256: saved.sha256,
      })),
    commitSnapshot: (manifest) =>
      this.#did({ activity: 'commitSnapshot', node: null, what: area(manifest.key) }, () => {
        const proved = provedOf(manifest)
        this.proved = [proved, ...this.proved]
        return proved
      }),
    noteQuarantine: (_cluster, key) =>
      this.#did({ activity: 'noteQuarantine', node: null, what: area(key) }, () => undefined),
    keepMonth: ({ key }) =>
      this.#did({ activity: 'keepMonth', node: null, what: '' }, () => monthlyKeyOf(key)),
    releaseQuarantined: (_cluster, key) =>
      this.#did({ activity: 'releaseQuarantined', node: null, what: area(key) }, () => undefined),
    releaseSuperseded: () => this.#did({ activity: 'releaseSuperseded', node: null, what: '' }, () => 0),
    pruneLocal: ({ node }) => this.#did({ activity: 'pruneLocal', node, what: '' }, (): string[] => []),

    readCatalogue: () =>
      this.#did({ activity: 'readCatalogue', node: null, what: '' }, () => ({
        proved: this.proved,
        lineages: this.lineages,
        refused: this.refused,
      })),
    recordLineage: (lineage) =>
      this.#did({ activity: 'recordLineage', node: null, what: '' }, () => {
        this.lineages = [...this.lineages, lineage]
      }),

    pauseBackups: (_cluster, why) =>
      this.#did({ activity: 'pauseBackups', node: null, what: '' }, () => {
        if (this.schedule === null) return { paused: false, wasPaused: false }
        const wasPaused = this.schedule.paused && this.schedule.note !== why
        if (!this.schedule.paused) this.schedule = { paused: true, note: why }
        return { paused: true, wasPaused }
      }),
    settleBackups: () =>
      this.#did({ activity: 'settleBackups', node: null, what: '' }, () => ({
        waitedFor: [],
        cancelled: [],
      })),
    resumeBackups: (_cluster, why) =>
      this.#did({ activity: 'resumeBackups', node: null, what: '' }, () => {
        this.schedule = { paused: false, note: why }
      }),
    rehearseSnapshot: (_cluster, snapshot) =>
      this.#did({ activity: 'rehearseSnapshot', node: null, what: '' }, () =>
        this.rehearsed(rehearsedFactsOf(snapshot)),
      ),
    attest: (attestation) =>
      this.#did({ activity: 'attest', node: null, what: attestation.outcome }, () => {
        this.attestations.unshift(attestation)
        return attestationKey(attestation)
      }),
    readAttestations: () =>
      this.#did({ activity: 'readAttestations', node: null, what: '' }, () => this.attestations),
    seeBackupSchedule: () =>
      this.#did({ activity: 'seeBackupSchedule', node: null, what: '' }, () => this.schedule),
    seeFreshness: () =>
      this.#did({ activity: 'seeFreshness', node: null, what: '' }, () => {
        const [newest] = this.proved
        return {
          newest: newest === undefined ? null : { key: newest.key, takenAt: newest.takenAt },
          oldestTakenAt: this.proved.at(-1)?.takenAt ?? null,
          rehearsals: this.config.rehearsal.every === 'never' ? null : this.attestations,
        }
      }),
    ownersAlive: (owners) =>
      this.#did({ activity: 'ownersAlive', node: null, what: '' }, () =>
        owners.filter((owner) => this.alive.includes(owner)),
      ),
    raiseAlarm: ({ key }, again) =>
      this.#did({ activity: 'raiseAlarm', node: null, what: key }, () => {
        this.alarms.push(`${again ? 'still' : 'raised'} ${key}`)
      }),
    clearAlarm: (key) =>
      this.#did({ activity: 'clearAlarm', node: null, what: key }, () => {
        this.alarms.push(`cleared ${key}`)
      }),
    proveConsent: ({ by }) =>
      this.#did({ activity: 'proveConsent', node: null, what: by }, () => ({ who: by })),

    listChecks: (_cluster, asked) =>
      this.#did({ activity: 'listChecks', node: null, what: '' }, () => {
        const api = (node: ModelNode): boolean => node.manifests.has('kube-apiserver')
        const names = (having: boolean): string[] =>
          [...this.nodes].filter(([, node]) => api(node) === having).map(([name]) => name)
        return listChecks(this.config.validate, asked, {
          servers: names(true),
          without: names(false),
          unreached: [],
        })
      }),
    runCheck: (request) => {
      const { name, run, limitMs } = request
      // Before anything can hold or fail it: a canary that was killed is there all the same.
      if (name === 'canary') this.canaries.add(run)
      this.checksAsked.push(request)
      return this.#did({ activity: 'runCheck', node: null, what: name }, () =>
        madeCheck(name, (isCheckName(name) ? this.found[name] : null) ?? pass('good'), 0.1, limitMs),
      )
    },
    removeCanary: (_cluster, run) =>
      this.#did({ activity: 'removeCanary', node: null, what: '' }, () => {
        this.canaries.delete(run)
        return this.removal
      }),
  }

  async #did<Result>(asked: Asked, work: () => Result): Promise<Result> {
    this.calls.push({ ...asked, phase: 'begins' })
    for (const { on, arrived } of this.#arrivals) if (on(asked)) arrived()
    await Promise.all(this.#gates.filter(({ on }) => on(asked)).map(({ opened }) => opened))
    const fault = this.#faults.find(({ on, left }) => left > 0 && on(asked))
    if (fault) fault.left -= 1
    try {
      if (fault && !fault.after) throw fault.error
      const result = work()
      if (fault) throw fault.error
      this.calls.push({ ...asked, phase: 'ends' })
      return result
    } catch (error) {
      this.calls.push({ ...asked, phase: 'fails' })
      throw error
    }
  }

  #restored(): boolean {
    return [...this.nodes.values()].every(
      ({ data, manifests }) => data?.startsWith('restored') === true && manifests.has('etcd'),
    )
  }

  #planted(): number {
    return [...this.nodes.values()].filter(({ data }) => data === 'a broken log').length
  }

  #space({ dbSizeBytes, dbSizeInUseBytes }: ModelNode) {
    return {
      dbSizeBytes,
      dbSizeInUseBytes,
      leaderId: memberId(this.leads),
      // Every member tells of every alarm.
      errors: this.outOfSpace.map((full) => `memberID:${BigInt(`0x${memberId(full)}`)} alarm:NOSPACE `),
    }
  }

  /** Each member drops what is old; its file stays as big as it is. */
  #compact(): void {
    for (const node of this.nodes.values()) node.dbSizeInUseBytes -= this.oldRevisionsBytes
    this.oldRevisionsBytes = 0
  }

  #node(name: string): ModelNode {
    const node = this.nodes.get(name)
    if (node === undefined) throw new Error(`the model has no ${name}`)
    return node
  }
}

export function verb(action: NodeAction): string {
  const pods = 'pods' in action ? action.pods : []
  return [action.kind, ...pods.map((one) => (typeof one === 'string' ? one : one.pod))].join(' ')
}

function memberId(node: string) {
  return MEMBER_IDS[NAMES.indexOf(node)] ?? NO_LEADER
}

function area(key: string): string {
  return key.slice(0, key.indexOf('/'))
}

function provedOf(manifest: SnapshotManifest): ProvedSnapshot {
  const verdict = prove(manifest, manifest)
  if ('refused' in verdict) throw new Error(verdict.refused)
  return verdict.proved
}

/** What the scripts do on a real node, each harmless when it is done again. */
function perform(node: ModelNode, recovery: string, action: NodeAction): void {
  switch (action.kind) {
    case 'stop-pods':
      for (const pod of action.pods) {
        const from = placeOf(node, action.from)
        const manifest = from.get(pod)
        if (manifest !== undefined) node.kept.set(`${action.to}/${pod}.yaml`, manifest)
        from.delete(pod)
      }
      return
    case 'fence-pods':
      for (const pod of action.pods) move(node.manifests, placeOf(node, action.to), pod)
      return
    case 'set-aside':
      if (node.data === null) node.dataWasAbsent.add(recovery)
      else node.beside.set(action.to, node.data)
      node.data = null
      return
    case 'restore':
      if (node.data !== null)
        throw new RequorumError('step-refused', { what: 'the data directory exists already', todo: '' })
      node.data = `restored ${action.token}`
      return
    case 'start-etcd':
      node.manifests.set(
        'etcd',
        action.manifest ?? withFullMemberList(node.kept.get(action.kept) ?? '', action.initialCluster),
      )
      return
    case 'start-pods':
    case 'return-pods':
      for (const one of action.pods) {
        const pod = typeof one === 'string' ? one : one.pod
        const kept = node.kept.get(`${action.from}/${pod}.yaml`)
        if (kept !== undefined) placeOf(node, action.to).set(pod, kept)
      }
      return
    case 'withdraw-etcd':
      if (node.kept.has(action.kept)) node.manifests.delete('etcd')
      return
    case 'put-back': {
      const old = node.beside.get(action.aside)
      if (old === undefined && !node.dataWasAbsent.has(recovery)) return
      if (node.data !== null) node.beside.set(action.undone, node.data)
      node.data = old ?? null
      node.beside.delete(action.aside)
      return
    }
    case 'take-back': {
      const old = node.beside.get(action.aside)
      if (action.inode === null || old === undefined) return
      node.data = old
      node.beside.delete(action.aside)
      return
    }
    case 'remove-aside':
      node.aside = node.aside.filter(({ path }) => !action.items.some((item) => item.path === path))
      return
    case 'make-data-dir':
      node.data = 'empty'
      return
    case 'plant-broken-log':
      node.data = 'a broken log'
      return
    case 'defragment':
      node.dbSizeBytes = node.dbSizeInUseBytes
      return
    case 'remove-leases':
    case 'remove-member':
    case 'add-learner':
    case 'promote-member':
    case 'compact':
      // What they do is in etcd, of all members at once.
      return
  }
}

function move(from: Map<string, string>, to: Map<string, string>, key: string): void {
  const value = from.get(key)
  if (value === undefined) return
  to.set(key, value)
  from.delete(key)
}

/** The kubelet's directory, or the fenced one. */
function placeOf(node: ModelNode, path: string): Map<string, string> {
  return path === FENCED_MANIFESTS ? node.fenced : node.manifests
}

const NEW_ID = etcdId.parse('1ea47e4000000001')

/** The member list after an action, as etcd keeps it. */
function withMember(members: readonly Member[], action: NodeAction): Member[] {
  const at = (peerUrl: string) => (member: Member) => member.peerUrls.includes(peerUrl)
  switch (action.kind) {
    case 'remove-member':
      return members.filter(({ id }) => id !== action.id)
    // A restore onto some of the nodes makes a cluster of those.
    case 'start-etcd':
      return members.filter(({ peerUrls }) => peerUrls.some((url) => action.initialCluster.includes(url)))
    case 'add-learner':
      return members.some(at(action.peerUrl))
        ? [...members]
        : [...members, { id: NEW_ID, name: action.name, peerUrls: [action.peerUrl], isLearner: true }]
    case 'promote-member':
      return members.map((member) => (at(action.peerUrl)(member) ? { ...member, isLearner: false } : member))
    default:
      return [...members]
  }
}

/** What a node knows of the time before a restore; an inode is as good as what is in it. */
function factsOf(node: string, model: ModelNode, recovery: string, aside: string): BeforeRestore {
  const found = (pod: string, text: string): ManifestFound => ({
    pod,
    sha256: sha256OfText(text),
    owner: '0:0',
    mode: '600',
  })
  const inode = (data: string | null | undefined): string | null => data ?? null
  const directory = `${recoveryDir(recovery)}/manifests/`
  return {
    node,
    asideInode: inode(model.beside.get(aside)),
    wasAbsent: model.dataWasAbsent.has(recovery),
    dataInode: inode(model.data),
    kept: [...model.kept].flatMap(([path, text]) =>
      path.startsWith(directory) ? [found(path.slice(directory.length, -'.yaml'.length), text)] : [],
    ),
    manifests: [...model.manifests].map(([pod, text]) => found(pod, text)),
  }
}

/** What an etcd holds that restored exactly this snapshot. */
function rehearsedFactsOf(snapshot: ProvedSnapshot): RehearsedFacts {
  const { sha256, sizeBytes, totalKeys, hash, revision, inventory } = snapshot
  return {
    ...{ sha256, sizeBytes, totalKeys, hash, revision, inventory },
    compactRevision: revision,
    keyspaceHash: 'cafe',
    seconds: { restored: 1, served: 2 },
    etcdVersion: '3.5.16',
  }
}
