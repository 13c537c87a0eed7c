import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { after, before, describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { TestWorkflowEnvironment } from '@temporalio/testing'
import { DefaultLogger, Runtime, Worker } from '@temporalio/worker'
import { createClusterActivities } from '../../activities/cluster.ts'
import { createConsentActivities } from '../../activities/consent.ts'
import type { Systems } from '../../activities/systems.ts'
import { identityFor, loadCluster } from '../../workers/home.ts'
import { partTarget } from '../../lab/parts/parts.mjs'
import { clusterYaml, TestHome, type Ended, type Running } from './command-line.ts'

const NAMED = 'daily/snapshot-20261122T020000Z.db'
const server = partTarget('temporal')
const skip = existsSync(server) ? false : `${server} isn't there: run node scripts/setup.mjs --for test`

describe('with a real engine', { skip }, () => {
  const yaml = (cluster: string, more = ''): string =>
    clusterYaml(cluster, `approval: { destroy: { people: 2, timeout: 1h } }\n${more}`)
  const signedYaml = (cluster: string): string =>
    clusterYaml(
      cluster,
      'approval: { proof: ssh, allowedSigners: allowed_signers, destroy: { people: 2, timeout: 1h } }\n',
    )
  const home = new TestHome({
    prod: yaml('prod'),
    fails: yaml('fails'),
    idle: yaml('idle'),
    signed: signedYaml('signed'),
    away: signedYaml('away').replace('commands-test', 'away'),
  })
  let engine: TestWorkflowEnvironment
  let worker: Worker
  let working: Promise<void>

  const start = (...args: string[]): Running => home.start(args, { TEMPORAL_ADDRESS: engine.address })
  const run = (...args: string[]): Promise<Ended> => start(...args).ended
  const json = async (...args: string[]): Promise<unknown> => JSON.parse((await run(...args, '--json')).out)
  const systems: Pick<Systems, 'loadCluster' | 'identityFor'> = {
    loadCluster: (cluster) => loadCluster(home.dir, cluster),
    identityFor: (config) => identityFor(home.dir, config),
  }
  const newWorker = (taskQueue: string): Promise<Worker> =>
    Worker.create({
      connection: engine.nativeConnection,
      taskQueue,
      workflowsPath: fileURLToPath(new URL('stand-in-workflows.ts', import.meta.url)),
      activities: { ...createClusterActivities(systems), ...createConsentActivities(systems) },
    })
  const schedule = (cluster: string) => engine.client.schedule.getHandle(`backup-${cluster}`)

  before(async () => {
    Runtime.install({ logger: new DefaultLogger('ERROR') })
    engine = await TestWorkflowEnvironment.createLocal({
      server: { executable: { type: 'existing-path', path: server } },
    })
    worker = await newWorker('commands-test')
    working = worker.run()
  })
  after(async () => {
    worker.shutdown()
    await working
    await engine.teardown()
    home.remove()
  })

  describe('schedule', () => {
    test('that is missing is named, with the command that makes it', async () => {
      for (const args of [
        ['schedule', 'show', 'prod'],
        ['backup', 'now', 'prod'],
      ]) {
        const { code, error } = await run(...args)
        assert.equal(code, 1)
        assert.match(error, /\[schedule-missing\][\s\S]*requorum schedule apply prod/)
      }
    })

    test('is made from the file, with its own overlap, catch-up and retries', async () => {
      const { code, out } = await run('schedule', 'apply', 'prod')
      assert.equal(code, 0)
      assert.match(out, /Created schedule backup-prod/)
      const { spec, policies, action } = await schedule('prod').describe()
      assert.deepEqual(
        spec.intervals?.map(({ every }) => every),
        [6 * 3_600_000],
      )
      assert.equal(policies.overlap, 'SKIP')
      assert.equal(policies.catchupWindow, 3 * 3_600_000)
      assert.equal(action.retry?.maximumAttempts, 3)
      assert.equal(action.taskQueue, 'commands-test')
      assert.deepEqual(action.args, [{ cluster: 'prod' }])
    })

    test('is left alone when nothing differs', async () => {
      const { lastUpdatedAt } = (await schedule('prod').describe()).info
      const { out } = await run('schedule', 'apply', 'prod')
      assert.match(out, /already what the file says/)
      assert.deepEqual((await schedule('prod').describe()).info.lastUpdatedAt, lastUpdatedAt)
    })

    test('keeps its pause over a change, and says what changed', async () => {
      await schedule('prod').pause('recovery/prod is running')
      home.write('prod', yaml('prod', 'backup: { every: 4h, retries: 1 }\n'))
      const shown = await run('schedule', 'show', 'prod')
      assert.match(shown.out, /differs from the cluster's file[\s\S]*every +6h +4h/)

      const { out } = await run('schedule', 'apply', 'prod')
      assert.match(out, /every +6h +4h/)
      assert.match(out, /retries +2 +1/)
      assert.match(out, /paused: recovery\/prod is running/)
      const { state, spec, action } = await schedule('prod').describe()
      assert.deepEqual(
        { paused: state.paused, note: state.note },
        { paused: true, note: 'recovery/prod is running' },
      )
      assert.equal(spec.intervals?.[0]?.every, 4 * 3_600_000)
      assert.equal(action.retry?.maximumAttempts, 2)
    })

    test('is shown with its pause and its next runs', async () => {
      assert.match((await run('schedule', 'show', 'prod')).out, /state +paused: recovery\/prod/)
      await schedule('prod').unpause()
      const { out } = await run('schedule', 'show', 'prod')
      assert.match(out, /state +on/)
      assert.match(out, /next +\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC \(in /)
    })
  })

  describe('backup now', () => {
    test('starts one, says so when one runs, and follows that one to its verdict', async () => {
      const { out } = await run('backup', 'now', 'prod')
      const id = /Started (backup\/prod\S+)\./.exec(out)?.[1]
      assert.ok(id, out)

      const second = start('backup', 'now', 'prod', '--wait')
      await until(() => second.out().includes(id))
      assert.match(second.out(), /runs already: .* No second one was started/)
      await engine.client.workflow.getHandle(id).signal('finish')
      const ended = await second.ended
      assert.equal(ended.code, 0)
      assert.match(ended.out, /PROVED: daily\/snapshot-20261122T020000Z\.db/)
      assert.match(ended.out, /size +4\.0 MiB/)
    })
  })

  test('a backup that is refused while backups are held says both, and so does status', async () => {
    await run('schedule', 'apply', 'fails')
    await schedule('fails').pause('recovery/fails is running')
    const { code, out, error } = await run('backup', 'now', 'fails', '--wait')
    assert.notEqual(code, 0)
    assert.match(
      out,
      /Started backup\/fails[\s\S]*The schedule is paused: recovery\/fails is running; during a recovery/,
    )
    assert.match(error, /A recovery holds the nodes of fails\. \[recovery-running\]/)
    for (const told of [await run('status', 'fails'), await run('schedule', 'show', 'fails')])
      assert.match(told.out, /failed[\s\S]*A recovery holds the nodes of fails\. \[recovery-running\]/)
  })

  describe('restore', () => {
    test('of what is no key of a snapshot is refused before it is started', async () => {
      const { code, error } = await run('restore', 'prod', '--snapshot', 'latest')
      assert.equal(code, 2)
      assert.match(error, /a key like daily\/snapshot-20261122T020000Z\.db/)
    })

    test('nothing waits before it: approve sends nothing and ends with 3', async () => {
      const { code, out } = await run('approve', 'prod', '--plan', '3fa9c1d2')
      assert.equal(code, 3)
      assert.match(out, /Not sent: no recovery of prod is running/)
    })

    test('stops at the person with the plan, the commands and 4', async () => {
      const { code, out } = await run('restore', 'prod', '--snapshot', NAMED)
      assert.equal(code, 4)
      assert.match(out, /✓ Survey nodes .*: 3 reached/)
      assert.match(
        out,
        /waits for a person: destroy, plan 3fa9c1d2\n {2}0 of 2 approvals, until .* UTC \(in (60 min|1\.0 h)\)/,
      )
      assert.match(out, /All of prod is restored from daily\/snapshot-20261122T020000Z\.db/)
      assert.match(out, /requorum approve prod --plan 3fa9c1d2/)
    })

    test('is never started twice', async () => {
      const { code, error } = await run('restore', 'prod')
      assert.equal(code, 4)
      assert.match(error, /\[recovery-running\][\s\S]*destroy[\s\S]*requorum approve prod --plan 3fa9c1d2/)
    })

    test('is seen by status, for people and for programs', async () => {
      const { out } = await run('status', 'prod')
      assert.match(
        out,
        /recovery +recovery\/prod, started .*\n +waits for a person at "destroy", plan 3fa9c1d2, 0 of 2/,
      )
      assert.match(out, /All of prod is restored/)
      assert.match(out, /backup +none running/)
      assert.match(out, /schedule +next /)
      const document = JSON.stringify(await json('status'))
      assert.match(document, /"waiting":\{"name":"destroy"/)
    })

    test('a wrong digest and a wrong checkpoint are not counted, and end with 3', async () => {
      for (const { args, because } of [
        { args: ['--plan', 'ffffffff'], because: /the plan that waits is 3fa9c1d2/ },
        {
          args: ['--plan', '3fa9c1d2', '--checkpoint', 'accept'],
          because: /the checkpoint that waits is "destroy"/,
        },
      ]) {
        const { code, out } = await run('approve', 'prod', '--by', 'ana', ...args)
        assert.equal(code, 3)
        assert.match(out, because)
        assert.match(out, /All of prod is restored/, 'the plan is shown before it is decided on')
      }
    })

    test('is watched through two approvals to its report', async () => {
      const watching = start('status', 'prod', '--watch')
      await until(() => watching.out().includes('waits for a person'))
      const first = await run('approve', 'prod', '--plan', '3fa9c1d2', '--by', 'ana')
      assert.equal(first.code, 0)
      assert.match(
        first.out,
        /Counted: ana approved "destroy"[\s\S]*1 of 2 approvals \(ana\); somebody else has to/,
      )
      const again = await run('approve', 'prod', '--plan', '3fa9c1d2', '--by', 'ana')
      assert.equal(again.code, 3)
      assert.match(again.out, /ana has approved already/)
      assert.equal((await run('approve', 'prod', '--plan', '3FA9C1D2', '--by', 'ben')).code, 0)

      const { code, out } = await watching.ended
      assert.equal(code, 0)
      assert.match(out, /Z {2}▶ Stop etcd\n/)
      assert.match(out, /Z {2}✓ Stop etcd \(\d s\)\n/)
      assert.match(out, /Z {2}○ a decision changed nothing: the plan that waits is 3fa9c1d2/)
      assert.match(out, /lost +14 min, 12 revisions/)
      assert.match(out, /RESTORED: prod is restored, validated and accepted\.\n$/)
    })

    test('its end is what status says afterwards', async () => {
      const { out } = await run('status', 'prod')
      assert.match(out, /none running; the last one ended as "restored"/)
      assert.match(
        out,
        /Report\n[\s\S]*approved +destroy \(plan 3fa9c1d2\S*\) by ana, ben\n[\s\S]*RESTORED: prod/,
      )
    })

    test('that is refused ends with 3, in one document with --json', async () => {
      const watching = start('restore', 'prod', '--watch', '--json')
      await sleep(500)
      await untilAsync(async () => (await run('refuse', 'prod', '--plan', '3fa9c1d2')).code === 0)
      const { code, out } = await watching.ended
      assert.equal(code, 3)
      const document: unknown = JSON.parse(out)
      assert.ok(typeof document === 'object' && document !== null && 'verdict' in document)
      assert.match(JSON.stringify(document.verdict), /"outcome":"refused"/)
    })

    test('that fails shows the reason of the run', async () => {
      const { code, error } = await run('restore', 'fails')
      assert.equal(code, 1)
      assert.equal(error, 'fails has its quorum. [quorum-holds]\nWhy: all answer\nDo:  Leave it alone.\n')
    })

    test('goes on when the watching is interrupted', async () => {
      const watching = start('restore', 'idle', '--watch')
      await until(() => watching.out().includes('waits for a person'))
      watching.interrupt()
      const { code, out } = await watching.ended
      assert.equal(code, 4)
      assert.match(out, /Stopped watching; recovery\/idle goes on and waits for a person/)
      assert.equal(
        (await engine.client.workflow.getHandle('recovery/idle').describe()).status.name,
        'RUNNING',
      )
      await engine.client.workflow.getHandle('recovery/idle').terminate()
    })
  })

  describe('relieve', () => {
    test('prints what each member gave back, the verdict last, and ends with 0', async () => {
      const { code, out } = await run('relieve', 'prod', '--watch')
      assert.equal(code, 0, out)
      assert.match(out, /^Started recovery\/prod/)
      assert.match(
        out,
        /^MEMBER +BEFORE +AFTER +GIVEN BACK +OF QUOTA\ncp-02 +2\.0 GiB +300 MiB +1\.7 GiB +15 %$/m,
      )
      assert.match(
        out,
        /copy +cp-02:\/var\/lib\/etcd-backups\/before-compaction-\S+\.db, 2\.0 GiB; kept until `requorum cleanup`/,
      )
      assert.match(out, /FREED: 2 members of prod gave back 3\.4 GiB; no alarm stands, .*\n$/)
    })

    test('its end is what status says afterwards', async () => {
      assert.match((await run('status', 'prod')).out, /none running; the last one ended as "freed"/)
    })

    test('ends with 1 when writes are refused all the same, in one document with --json', async () => {
      const { code, out } = await run('relieve', 'fails', '--watch', '--json')
      assert.equal(code, 1)
      assert.match(JSON.stringify(JSON.parse(out)), /"verdict":\{"runbook":"relieve","outcome":"still-full"/)
      assert.match((await run('relieve', 'fails', '--watch')).out, /STILL FULL: fails refuses writes/)
    })

    test('is not hidden by a run that was refused afterwards', async () => {
      await run('restore', 'fails')
      const { out } = await run('status', 'fails')
      assert.match(out, /the last one ended as "failed"[^\n]*\n +before it, one ended as "still-full"/)
      assert.match(out, /Why it ended\n +fails has its quorum\. \[quorum-holds\]\n[\s\S]*STILL FULL: fails/)
      const { out: json } = await run('status', 'fails', '--json')
      assert.match(json, /"failure": \{\s+"code": "quorum-holds"/)
      assert.match(
        (await run('status')).out,
        /ended as "failed".*\n +fails has its quorum\. \[quorum-holds\]\n/,
      )
    })

    test('is refused while another recovery runs', async () => {
      await run('restore', 'idle', '--detach')
      const { code, error } = await run('relieve', 'idle')
      assert.equal(code, 4)
      assert.match(error, /A recovery of idle runs already[\s\S]*\[recovery-running\]/)
      await engine.client.workflow.getHandle('recovery/idle').terminate()
    })
  })

  describe('approve --sign', () => {
    const approve = (...args: string[]): Promise<Ended> =>
      run('approve', 'signed', '--plan', '3fa9c1d2', ...args)

    before(() => {
      home.key('id_ed25519')
      for (const name of ['phone', 'ben', 'eve']) home.key(name)
      home.allow({ 'ana@example.com': ['id_ed25519', 'phone'], 'ben@example.com': ['ben'] })
    })

    test('is told to who has not signed, with the statement and the commands to do it by hand', async () => {
      assert.equal((await run('restore', 'signed')).code, 4)
      const { code, out } = await approve()
      assert.equal(code, 3)
      assert.match(out, /requorum approve signed --plan 3fa9c1d2 --sign/)
      assert.match(
        out,
        /requorum-consent\/1\n +cluster: signed\n[\s\S]*ssh-keygen -Y sign -n requorum-consent/,
      )
      assert.match(out, /Not sent: signed asks for a signature: add --sign/)
    })

    test('signs no other plan or checkpoint than the one that waits', async () => {
      for (const args of [
        ['approve', 'signed', '--plan', 'deadbeef', '--sign'],
        ['approve', 'signed', '--plan', '3fa9c1d2', '--sign', '--checkpoint', 'accept'],
      ]) {
        const { code, out } = await run(...args)
        assert.equal(code, 3)
        assert.match(out, /Not sent: the (plan|checkpoint) that waits is/)
        assert.doesNotMatch(out, /Signing/)
      }
    })

    test('ends with 3 and the reason when the proof does not hold', async () => {
      for (const [args, words] of [
        [
          ['--key', home.key('eve')],
          /Not counted: its proof doesn't hold: its key isn't one of an allowed signer/,
        ],
        [['--by', 'ben@example.com'], /ana@example\.com signed it, and it says it is by ben@example\.com/],
      ] as const) {
        const { code, out } = await approve('--sign', ...args)
        assert.equal(code, 3, out)
        assert.match(out, words)
      }
    })

    test('ends with what ssh-keygen says when there is nothing to sign with', async () => {
      const { code, error } = await approve('--sign', '--key', '/nonexistent/key')
      assert.equal(code, 1)
      assert.match(error, /\[signing-failed\]\nWhy: .*\/nonexistent\/key: No such file/)
    })

    test('counts for the person whose key it is, once, and the second has to be another', async () => {
      const first = await approve('--sign')
      assert.equal(first.code, 0, first.out)
      assert.match(
        first.out,
        /Signing plan 3fa9c1d2 with .*id_ed25519:\n\nrequorum-consent\/1\ncluster: signed\n/,
      )
      assert.match(first.out, /Counted: ana@example\.com approved "destroy"[\s\S]*1 of 2 approvals/)
      assert.doesNotMatch(first.out, /BEGIN SSH SIGNATURE/)

      const again = await approve('--sign', '--key', home.key('phone'))
      assert.equal(again.code, 3)
      assert.match(again.out, /ana@example\.com has approved already/)

      const { code, out } = await approve('--sign', '--key', home.key('ben'), '--json')
      assert.equal(code, 0, out)
      assert.match(out, /"counted": ?true/)
      assert.doesNotMatch(out, /proof"|SIGNATURE/)
      await untilAsync(async () => (await run('status', 'signed')).out.includes('ended as "restored"'))
    })

    test('goes as a Signal when no worker takes it in, which waits for one', async () => {
      const first = await newWorker('away')
      const working = first.run()
      assert.equal((await run('restore', 'away')).code, 4)
      // The worker goes while the person types a passphrase.
      const { path, release } = home.holdSshKeygen()
      const deciding = home.start(['refuse', 'away', '--plan', '3fa9c1d2', '--sign'], {
        TEMPORAL_ADDRESS: engine.address,
        PATH: `${path}:${process.env['PATH'] ?? ''}`,
      })
      await until(() => deciding.out().includes('Signing'))
      first.shutdown()
      await working
      release()
      await until(() => deciding.out().includes('it goes as a Signal'))
      const second = await newWorker('away')
      const alsoWorking = second.run()
      const { code, out } = await deciding.ended
      assert.equal(code, 0, out)
      assert.match(out, /Counted: ana@example\.com refused "destroy"/)
      second.shutdown()
      await alsoWorking
    })

    test('without a worker nothing is sent unread; the Signal that would wait is told', async () => {
      home.write('idle', yaml('idle').replace('commands-test', 'nobody'))
      await engine.client.workflow.start('restoreQuorum', {
        taskQueue: 'nobody',
        workflowId: 'recovery/idle',
        args: [{ cluster: 'idle' }],
      })
      const { code, error } = await run('approve', 'idle', '--plan', '3fa9c1d2', '--by', 'ana')
      assert.equal(code, 5)
      assert.match(error, /nothing was sent\. \[engine-unreachable\]/)
      assert.match(
        error,
        /A Signal waits for a worker[\s\S]*temporal workflow signal --workflow-id recovery\/idle --name decide/,
      )
      await engine.client.workflow.getHandle('recovery/idle').terminate()
      home.write('idle', yaml('idle'))
    })
  })

  describe('retire', () => {
    test('says what it would end, and ends nothing without the name once more', async () => {
      home.write('gone', yaml('gone'))
      await run('schedule', 'apply', 'gone')
      const { code, out } = await run('retire', 'gone')
      assert.equal(code, 0)
      assert.match(out, /gone: backup-gone, rehearse-gone, freshness-gone\. Nothing was changed/)
      assert.match(out, /must not be deleted: it could not be read/)
      assert.equal((await run('retire', 'gone', '--confirm', 'prod')).code, 2)
      assert.equal((await schedule('gone').describe()).state.paused, false)
    })

    test('ends the schedules, and a second time finds none', async () => {
      const { code, out } = await run('retire', 'gone', '--confirm', 'gone')
      assert.equal(code, 0)
      assert.match(out, /gone: ended backup-gone, rehearse-gone, freshness-gone\./)
      await assert.rejects(schedule('gone').describe())
      assert.match((await run('retire', 'gone', '--confirm', 'gone')).out, /gone: has no schedules/)
    })
  })

  test('plan restore prints every command of every step on every node, and the way back', async () => {
    const { code, out } = await run('plan', 'restore', 'idle', '--snapshot', NAMED)
    assert.equal(code, 0)
    assert.match(out, /Nothing was touched, and nothing waits for approval/)
    assert.match(out, /skipped +daily\/newer\.db: gone/)
    assert.match(out, /\n1\. Stop etcd\n\n {3}on cp-01:\n {5}mkdir -p /)
    assert.match(
      out,
      /\n2\. Set the old data aside\n[\s\S]*mv -T \/var\/lib\/etcd \/var\/lib\/etcd\.corrupt\.20261122T021400Z/,
    )
    assert.match(out, /etcdutl snapshot restore .* --bump-revision=1000000000 --mark-compacted/)
    assert.match(out, /The way back[\s\S]*1\. Stop the restored etcd/)
    const document = JSON.stringify(await json('plan', 'restore', 'idle'))
    assert.match(document, /"digest":"[0-9a-f]{64}"/)
  })

  describe('validate', () => {
    test('prints the checks as a table, the verdict last, and ends with 0', async () => {
      const { code, out } = await run(
        'validate',
        'prod',
        '--against',
        'daily/x.db',
        '--skip',
        'canary, hashes',
      )
      assert.equal(code, 0)
      assert.match(out, /^Started validate\/prod\/[0-9a-f]{8}/m)
      assert.match(out, /^VERDICT +CHECK +TOOK +WHAT IT SAW\npass +nodes +0\.4 s +3 nodes Ready$/m)
      assert.match(out, /^skipped +canary +- +the request says so\nskipped +hashes /m)
      assert.match(out, /HEALTHY: prod, 1 passed, 2 skipped; held against daily\/x\.db\.\n$/)
    })

    test('ends with 1 when a check failed, in one document with --json', async () => {
      const { code, out } = await run('validate', 'fails', '--json')
      assert.equal(code, 1)
      const document: unknown = JSON.parse(out)
      assert.ok(typeof document === 'object' && document !== null && 'verdict' in document)
      assert.match(JSON.stringify(document.verdict), /"outcome":"unhealthy".*"evidence":"not Ready: cp-03"/)
    })
  })

  test('diagnose says what is the matter, why, and what to type; its exit code tells only when asked to', async () => {
    const well = await run('diagnose', 'prod', '--exit-code')
    assert.equal(well.code, 0)
    assert.equal(
      well.out,
      'HEALTHY: prod is healthy.\n\nWhat one look found; nothing was touched:\n  cp-02  is healthy and leads\n',
    )
    const ill = await run('diagnose', 'idle')
    assert.equal(ill.code, 0)
    assert.equal(
      ill.out,
      `REPLACE ONE MEMBER: etcd on cp-02 is broken.

What 5 looks found; nothing was touched:
  cp-02  its last words: wal: crc mismatch

Besides:
  cluster  the clock of cp-03 is slow

Next:

1. on cp-01: Remove the member.
     etcdctl member remove 91bc3c398fb3c146

2. Then look again.
     requorum diagnose idle
`,
    )
    assert.equal((await run('diagnose', 'idle', '--exit-code')).code, 6)
    const { code, out } = await run('diagnose', 'idle', '--exit-code', '--json')
    assert.equal(code, 6)
    assert.match(JSON.stringify(JSON.parse(out)), /"kind":"replace-member","nodes":\["cp-02"\]/)
  })

  test('neither a plan nor a diagnosis is asked of a queue that nobody serves', async () => {
    home.write('prod', yaml('prod').replace('commands-test', 'nobody'))
    for (const args of [
      ['plan', 'restore', 'prod'],
      ['diagnose', 'prod'],
    ]) {
      const { code, error } = await run(...args)
      assert.equal(code, 5)
      assert.match(error, /No worker serves the task queue "nobody"[\s\S]*requorum up/)
    }
  })
})

async function until(condition: () => boolean): Promise<void> {
  await untilAsync(async () => condition())
}

async function untilAsync(condition: () => Promise<boolean>): Promise<void> {
  for (const deadline = Date.now() + 60_000; Date.now() < deadline;) {
    if (await condition()) return
    await sleep(100)
  }
  assert.fail('it did not happen within a minute')
}
