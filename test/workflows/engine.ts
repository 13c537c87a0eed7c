/** Real workflow code in a real worker on Temporal's time-skipping server, over model clusters. */
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { WorkflowFailedError, type Client, type WorkflowHandle } from '@temporalio/client'
import { Context } from '@temporalio/activity'
import { ActivityFailure, ApplicationFailure, CancelledFailure } from '@temporalio/common'
import { TestWorkflowEnvironment } from '@temporalio/testing'
import { DefaultLogger, Runtime, Worker } from '@temporalio/worker'
import type { Activities } from '../../activities/index.ts'
import type { AdoptVerdict } from '../../domain/adopt-verdict.ts'
import type { Answer, Decision } from '../../domain/consent.ts'
import {
  DECIDE_NOW_UPDATE,
  DECIDE_SIGNAL,
  drillWorkflowId,
  PROGRESS_QUERY,
  recoveryWorkflowId,
  TASK_QUEUE,
  type RestoreRequest,
} from '../../domain/messages.ts'
import type { CleanUpVerdict } from '../../domain/clean-up-text.ts'
import type { RollBackVerdict } from '../../domain/roll-back-text.ts'
import type { DrillVerdict } from '../../domain/drill-verdict.ts'
import type { ReliefVerdict } from '../../domain/relief-verdict.ts'
import type { Progress, WaitingCheckpoint } from '../../domain/progress.ts'
import type { BackupVerdict, ReplaceVerdict, RestoreVerdict } from '../../domain/verdict.ts'
import { partPath } from '../../lab/parts/parts.mjs'
import { failureInterceptor } from '../../workers/failure-interceptor.ts'
import { workflowBundle } from '../../workers/workflow-bundle.ts'
import { ModelCluster } from './model-cluster.ts'

/** What a run ended with: its result, or the code and words of its failure. */
export type End<Result> =
  | { readonly ended: 'well'; readonly result: Result }
  | { readonly ended: 'failed'; readonly code: string; readonly message: string }
  | { readonly ended: 'cancelled' }

/** Big, without state of their own, and otherwise loaded anew for each run. */
export const PRELOADED = ['zod', 'yaml']

type Recovery<Verdict> = (request: RestoreRequest) => Promise<Verdict>

export class Engine {
  readonly client: Client
  readonly #env: TestWorkflowEnvironment
  readonly #worker: Worker
  readonly #running: Promise<void>
  readonly #models: Map<string, ModelCluster>

  private constructor(env: TestWorkflowEnvironment, worker: Worker, models: Map<string, ModelCluster>) {
    this.#env = env
    this.client = env.client
    this.#worker = worker
    this.#models = models
    this.#running = worker.run()
  }

  static async start(): Promise<Engine> {
    Runtime.install({ logger: new DefaultLogger('ERROR') })
    const [env, bundle] = await Promise.all([
      TestWorkflowEnvironment.createTimeSkipping({
        server: { executable: { type: 'existing-path', path: partPath('temporal-test-server') } },
      }),
      workflowBundle(PRELOADED),
    ])
    const models = new Map<string, ModelCluster>()
    const worker = await Worker.create({
      connection: env.nativeConnection,
      taskQueue: TASK_QUEUE,
      workflowBundle: bundle,
      activities: handsOf(models),
      interceptors: { activity: [failureInterceptor] },
      maxHeartbeatThrottleInterval: BEAT_MS,
    })
    return new Engine(env, worker, models)
  }

  async stop(): Promise<void> {
    // A test that failed may have left an activity waiting at its gate.
    for (const model of this.#models.values()) model.letGo()
    this.#worker.shutdown()
    await this.#running
    await this.#env.teardown()
  }

  /** A cluster of its own for one test, so that no test's run meets another's. */
  cluster(differs: ConstructorParameters<typeof ModelCluster>[1] = {}): ModelCluster {
    const model = new ModelCluster(`t${this.#models.size + 1}`, differs)
    this.#models.set(model.name, model)
    return model
  }

  async restore(model: ModelCluster, input: object = {}): Promise<RestoreRun> {
    return this.#recovery<RestoreVerdict>('restoreQuorum', model, input)
  }

  replace(model: ModelCluster, input: object = {}): Promise<RestoreRun<ReplaceVerdict>> {
    return this.#recovery<ReplaceVerdict>('replaceMember', model, input)
  }

  adopt(model: ModelCluster, input: object = {}): Promise<RestoreRun<AdoptVerdict>> {
    return this.#recovery<AdoptVerdict>('adopt', model, input)
  }

  /** A drill, which runs under an ID of its own. */
  async drill(model: ModelCluster, input: object = {}): Promise<RestoreRun<DrillVerdict>> {
    return this.#start<DrillVerdict>('drill', drillWorkflowId(model.name), model, input)
  }

  /** The recovery of this cluster that runs, whoever started it. */
  recovery<Verdict = RestoreVerdict>(model: ModelCluster): RestoreRun<Verdict> {
    const handle = this.client.workflow.getHandle<Recovery<Verdict>>(recoveryWorkflowId(model.name))
    return new RestoreRun(this.client, handle)
  }

  relieve(model: ModelCluster): Promise<RestoreRun<ReliefVerdict>> {
    return this.#recovery<ReliefVerdict>('relieve', model)
  }

  cleanUp(model: ModelCluster, input: object = {}): Promise<RestoreRun<CleanUpVerdict>> {
    return this.#recovery<CleanUpVerdict>('cleanUp', model, input)
  }

  rollBack(model: ModelCluster, input: object = {}): Promise<RestoreRun<RollBackVerdict>> {
    return this.#recovery<RollBackVerdict>('rollBack', model, input)
  }

  #recovery<Verdict>(type: string, model: ModelCluster, input: object = {}): Promise<RestoreRun<Verdict>> {
    return this.#start<Verdict>(type, recoveryWorkflowId(model.name), model, input)
  }

  async #start<Verdict>(
    type: string,
    workflowId: string,
    model: ModelCluster,
    input: object,
  ): Promise<RestoreRun<Verdict>> {
    const handle = await this.client.workflow.start<Recovery<Verdict>>(type, {
      taskQueue: TASK_QUEUE,
      workflowId,
      args: [{ cluster: model.name, ...input }],
    })
    return new RestoreRun(this.client, handle)
  }

  /** Runs any workflow type to its end, whatever its input is. */
  async run<Result>(type: string, workflowId: string, ...args: unknown[]): Promise<End<Result>> {
    const handle = await this.client.workflow.start<(...input: unknown[]) => Promise<Result>>(type, {
      taskQueue: TASK_QUEUE,
      workflowId,
      args,
    })
    return endOf(handle.result())
  }

  backup(model: ModelCluster, more: object = {}): Promise<End<BackupVerdict>> {
    return this.run<BackupVerdict>('backup', `backup/${model.name}-${Date.now()}`, {
      cluster: model.name,
      ...more,
    })
  }
}

/** One recovery, as the people around it see it. */
export class RestoreRun<Verdict = RestoreVerdict> {
  readonly handle: WorkflowHandle<Recovery<Verdict>>
  readonly #client: Client

  constructor(client: Client, handle: WorkflowHandle<Recovery<Verdict>>) {
    this.#client = client
    this.handle = handle
  }

  progress(): Promise<Progress> {
    return this.handle.query<Progress>(PROGRESS_QUERY)
  }

  /** Polls until it is so. The engine's time stands still meanwhile. */
  async until<Seen>(what: string, look: (progress: Progress) => Seen | null | false): Promise<Seen> {
    const deadline = performance.now() + 30_000
    while (performance.now() < deadline) {
      const seen = look(await this.progress())
      if (seen !== null && seen !== false) return seen
      await sleep(25)
    }
    throw new Error(`waited in vain for ${what}: ${JSON.stringify((await this.progress()).steps.at(-1))}`)
  }

  /** The checkpoint of that name; another one than `not`, when the same name is asked again. */
  checkpoint(name: string, not?: WaitingCheckpoint): Promise<WaitingCheckpoint> {
    return this.until(`the checkpoint ${name}`, ({ waiting }) =>
      waiting?.name === name && waiting.digest !== not?.digest ? waiting : null,
    )
  }

  send(decision: unknown): Promise<void> {
    return this.handle.signal(DECIDE_SIGNAL, decision)
  }

  /** Sends a decision by Update: the answer comes when its proof was checked. */
  sendNow(decision: unknown): Promise<Answer> {
    return this.handle.executeUpdate<Answer, [unknown]>(DECIDE_NOW_UPDATE, { args: [decision] })
  }

  /** Sends a decision about what waits. */
  async decide(at: WaitingCheckpoint, decision: Decision['decision'], by = 'ana'): Promise<void> {
    await this.send({ checkpoint: at.name, decision, plan: at.plan, by })
  }

  /** Sends what is counted as so many more decisions, and waits until they are. */
  async sendAndSettle(decisions: readonly unknown[]): Promise<Progress> {
    const before = (await this.progress()).decisionsSeen
    await Promise.all(decisions.map((decision) => this.send(decision)))
    return this.until('the decisions', (progress) =>
      progress.decisionsSeen >= before + decisions.length ? progress : null,
    )
  }

  /** A signal whose payload says it is JSON and isn't. */
  async sendBytes(data: Buffer, encoding = 'json/plain'): Promise<void> {
    await this.#client.workflowService.signalWorkflowExecution({
      namespace: 'default',
      workflowExecution: { workflowId: this.handle.workflowId },
      signalName: DECIDE_SIGNAL,
      input: { payloads: [{ metadata: { encoding: Buffer.from(encoding) }, data }] },
    })
  }

  /** An update whose payload says it is JSON and isn't. */
  async updateBytes(data: Buffer, encoding = 'json/plain'): Promise<void> {
    await this.#client.workflowService.updateWorkflowExecution({
      namespace: 'default',
      workflowExecution: { workflowId: this.handle.workflowId },
      request: {
        meta: { updateId: randomUUID(), identity: 'test' },
        input: {
          name: DECIDE_NOW_UPDATE,
          args: { payloads: [{ metadata: { encoding: Buffer.from(encoding) }, data }] },
        },
      },
    })
  }

  /** Of a restore: approves destroy, then accept, and waits for the end. */
  async approveAll(): Promise<Verdict> {
    await this.decide(await this.checkpoint('destroy'), 'approve')
    await this.decide(await this.checkpoint('accept'), 'approve')
    return this.verdict()
  }

  /** Waits for the end; the engine's time jumps to the next timer whenever nothing else is left to do. */
  end(): Promise<End<Verdict>> {
    return endOf(this.handle.result())
  }

  async verdict(): Promise<Verdict> {
    const end = await this.end()
    if (end.ended === 'well') return end.result
    throw new Error(
      `the recovery ${end.ended}: ${end.ended === 'failed' ? `${end.code}: ${end.message}` : ''}`,
    )
  }

  async failure(): Promise<{ code: string; message: string }> {
    const end = await this.end()
    assert.equal(end.ended, 'failed', JSON.stringify(end))
    return end.ended === 'failed' ? end : { code: '', message: '' }
  }
}

async function endOf<Result>(result: Promise<Result>): Promise<End<Result>> {
  try {
    return { ended: 'well', result: await result }
  } catch (error) {
    if (!(error instanceof WorkflowFailedError)) throw error
    if (error.cause instanceof CancelledFailure) return { ended: 'cancelled' }
    const cause = error.cause instanceof ActivityFailure ? error.cause.cause : error.cause
    if (!(cause instanceof ApplicationFailure)) throw error
    return { ended: 'failed', code: cause.type ?? '', message: cause.message }
  }
}

/** The hands of whichever cluster is meant. */
export function handsOf(models: ReadonlyMap<string, ModelCluster>): Activities {
  const of = (named: string | { readonly cluster: string }): Activities => {
    const name = typeof named === 'string' ? named : named.cluster
    const model = models.get(name)
    if (model === undefined) {
      throw ApplicationFailure.nonRetryable(`There is no cluster file for ${name}.`, 'cluster-unknown')
    }
    return model.hands
  }
  return {
    loadCluster: async (cluster, needs) => of(cluster).loadCluster(cluster, needs),
    surveyNode: async (ref) => of(ref).surveyNode(ref),
    lockNode: async (ref, owner) => of(ref).lockNode(ref, owner),
    unlockNode: async (ref, owner) => of(ref).unlockNode(ref, owner),
    writeJournal: async (ref, ...rest) => of(ref).writeJournal(ref, ...rest),
    markRecovery: async (ref, ...rest) => of(ref).markRecovery(ref, ...rest),
    recordedRecoveries: async (ref) => of(ref).recordedRecoveries(ref),
    readRecoveryRecord: async (ref, recovery) => of(ref).readRecoveryRecord(ref, recovery),
    takeOverLock: async (ref, ...rest) => of(ref).takeOverLock(ref, ...rest),
    performAction: async (ref, ...rest) => of(ref).performAction(ref, ...rest),
    stageSnapshot: async (ref, snapshot) => of(ref).stageSnapshot(ref, snapshot),
    unstageSnapshot: async (ref, digest) => of(ref).unstageSnapshot(ref, digest),
    awaitPeerPort: async (ref) => of(ref).awaitPeerPort(ref),
    awaitApiServers: async (cluster) => of(cluster).awaitApiServers(cluster),
    awaitRestoredCluster: async (cluster, expected) => of(cluster).awaitRestoredCluster(cluster, expected),
    disarmAndProbe: async (ref, key) => of(ref).disarmAndProbe(ref, key),
    validateCluster: async (cluster, expected) => of(cluster).validateCluster(cluster, expected),
    compareMembers: async (cluster, names) => of(cluster).compareMembers(cluster, names),
    certificateFaults: async (ref, manifest) => of(ref).certificateFaults(ref, manifest),
    memberIds: async (cluster, names) => of(cluster).memberIds(cluster, names),
    saveSnapshot: async (request) => of(request).saveSnapshot(request),
    takeInventory: async (ref, at) => of(ref).takeInventory(ref, at),
    keyFingerprints: async (ref) => of(ref).keyFingerprints(ref),
    storeSnapshot: async (saved, key) => of(saved).storeSnapshot(saved, key),
    commitSnapshot: async (manifest) => of(manifest).commitSnapshot(manifest),
    noteQuarantine: async (cluster, ...rest) => of(cluster).noteQuarantine(cluster, ...rest),
    keepMonth: async (snapshot) => of(snapshot).keepMonth(snapshot),
    releaseQuarantined: async (cluster, key) => of(cluster).releaseQuarantined(cluster, key),
    releaseSuperseded: async (cluster, before) => of(cluster).releaseSuperseded(cluster, before),
    pruneLocal: async (ref, proved) => of(ref).pruneLocal(ref, proved),
    readCatalogue: async (cluster, named) => of(cluster).readCatalogue(cluster, named),
    recordLineage: async (lineage) => of(lineage).recordLineage(lineage),
    pauseBackups: async (cluster, why) => of(cluster).pauseBackups(cluster, why),
    settleBackups: async (cluster) => of(cluster).settleBackups(cluster),
    rehearseSnapshot: async (cluster, snapshot) => of(cluster).rehearseSnapshot(cluster, snapshot),
    attest: async (attestation) => of(attestation).attest(attestation),
    readAttestations: async (cluster) => of(cluster).readAttestations(cluster),
    seeBackupSchedule: async (cluster) => of(cluster).seeBackupSchedule(cluster),
    seeFreshness: async (cluster) => of(cluster).seeFreshness(cluster),
    // Owners and alarms name no cluster file: every model knows its own.
    ownersAlive: async (owners) =>
      (await Promise.all([...models.values()].map((one) => one.hands.ownersAlive(owners)))).flat(),
    raiseAlarm: async (alarm, again) => of(alarm).raiseAlarm(alarm, again),
    clearAlarm: async (key, cluster) => of(cluster).clearAlarm(key, cluster),
    resumeBackups: async (cluster, why) => of(cluster).resumeBackups(cluster, why),
    proveConsent: async (consent) => of(consent).proveConsent(consent),
    listChecks: async (cluster, asked) => of(cluster).listChecks(cluster, asked),
    runCheck: (request) => cancellable(of(request).runCheck(request)),
    removeCanary: async (cluster, ...rest) => of(cluster).removeCanary(cluster, ...rest),
    awaitCaughtUp: async (cluster) => of(cluster).awaitCaughtUp(cluster),
    awaitCompacted: async (cluster) => of(cluster).awaitCompacted(cluster),
    disarmSpaceAlarms: async (ref) => of(ref).disarmSpaceAlarms(ref),
    listAside: async (ref, dataDir) => of(ref).listAside(ref, dataDir),
    factsBeforeRestore: async (ref, ...rest) => of(ref).factsBeforeRestore(ref, ...rest),
    discardCopy: async (ref, recovery) => of(ref).discardCopy(ref, recovery),
    knock: async (cluster, ...rest) => of(cluster).knock(cluster, ...rest),
    writeFenceJournal: async (ref, text) => of(ref).writeFenceJournal(ref, text),
    markedForDrills: async (cluster) => of(cluster).markedForDrills(cluster),
    writeMarkers: async (ref, ...rest) => of(ref).writeMarkers(ref, ...rest),
    findMarkers: async (cluster, name) => of(cluster).findMarkers(cluster, name),
    removeMarkers: async (cluster, name) => of(cluster).removeMarkers(cluster, name),
    awaitFirstWrite: async (cluster, ...rest) => of(cluster).awaitFirstWrite(cluster, ...rest),
    holdsBrokenLog: async (ref, path) => of(ref).holdsBrokenLog(ref, path),
  }
}

/** Work that hears of a cancellation, as real checks do: by their heartbeats. */
async function cancellable<Result>(work: Promise<Result>): Promise<Result> {
  const context = Context.current()
  const beat = setInterval(() => context.heartbeat(), BEAT_MS)
  try {
    return await Promise.race([work, context.cancelled])
  } finally {
    clearInterval(beat)
  }
}

const BEAT_MS = 100
