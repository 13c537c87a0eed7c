import assert from 'node:assert/strict'
import { test } from 'node:test'
import { alarmOf, judgeStore, judgeUpkeep, previousAlarm, type Finding } from '../../domain/freshness.ts'
import { pauseNote } from '../../domain/messages.ts'
import { clusterConfig } from './examples.ts'

const NOW = '2026-11-22T10:00:00.000Z'
const config = clusterConfig({})
const newest = (takenAt: string) => ({
  newest: { key: 'daily/snapshot-1.db', takenAt },
  oldestTakenAt: takenAt,
  rehearsals: null,
})
const NONE = { newest: null, oldestTakenAt: null, rehearsals: null }
const whats = (findings: readonly Finding[]): string[] => findings.map(({ what }) => what)
const dead = { node: 'cp-01', owner: 'recovery/prod/1', since: '2026-11-22T02:14:00Z', alive: false }

test('a newest snapshot may be as old as the limit, and not a second older', () => {
  assert.deepEqual(judgeStore(config, newest('2026-11-22T03:00:00.000Z'), new Date(NOW)), [])
  const [old] = judgeStore(config, newest('2026-11-22T02:59:59.000Z'), new Date(NOW))
  assert.equal(old?.what, 'snapshot-old')
  assert.match(old.evidence, /daily\/snapshot-1\.db, is 7\.0 h old \(limit 7\.0 h\)/)
  assert.match(old.todo, /requorum backup now/)
})

test('what is made more rarely may be older, unless the file says otherwise', () => {
  const hours = (more: object): number[] => {
    const { proved, rehearsed } = clusterConfig(more).freshness
    return [proved / 3_600_000, rehearsed / 3_600_000]
  }
  assert.deepEqual(hours({}), [7, 8 * 24])
  assert.deepEqual(hours({ backup: { every: '24h' }, rehearsal: { every: '7d' } }), [25, 14 * 24])
  assert.deepEqual(hours({ rehearsal: { every: 'never' } }), [7, 8 * 24])
  assert.deepEqual(hours({ freshness: { proved: '2h', rehearsed: '1d' } }), [2, 24])
})

test('no snapshot, and a store that does not answer, are findings: nobody could restore tonight', () => {
  assert.deepEqual(whats(judgeStore(config, NONE, new Date(NOW))), ['snapshot-missing'])
  const [silent] = judgeStore(config, { silent: 'connection refused' }, new Date(NOW))
  assert.equal(silent?.what, 'store-silent')
  assert.match(silent.evidence, /connection refused/)
})

test('a rehearsal may be as old as its limit; one that failed, or none for that long, is a finding', () => {
  const seen = (
    oldestTakenAt: string,
    ...rehearsals: [rehearsedAt: string, outcome: 'restored' | 'failed', key?: string][]
  ) =>
    whats(
      judgeStore(
        config,
        {
          ...newest(NOW),
          oldestTakenAt,
          rehearsals: rehearsals.map(([rehearsedAt, outcome, key = 'daily/b.db']) => ({
            key,
            rehearsedAt,
            outcome,
          })),
        },
        new Date(NOW),
      ),
    )
  assert.deepEqual(seen(NOW), [], 'a cluster of today has its first rehearsal before it')
  assert.deepEqual(seen('2026-11-01T00:00:00Z'), ['rehearsal-missing'])
  assert.deepEqual(seen(NOW, ['2026-11-14T10:00:00Z', 'restored']), [])
  assert.deepEqual(seen(NOW, ['2026-11-14T09:59:59Z', 'restored']), ['rehearsal-old'])
  assert.deepEqual(
    seen(NOW, ['2026-11-22T09:00:00Z', 'failed'], ['2026-11-21T09:00:00Z', 'restored']),
    ['rehearsal-failed'],
    'the last word counts',
  )
  assert.deepEqual(
    seen(NOW, ['2026-11-22T09:00:00Z', 'failed', 'daily/a.db'], ['2026-11-21T09:00:00Z', 'restored']),
    [],
    'an older snapshot that somebody tried by name is not what a restore would take',
  )
  assert.deepEqual(
    seen(NOW, ['2026-11-22T09:00:00Z', 'failed', 'daily/a.db'], ['2026-11-12T09:00:00Z', 'restored']),
    ['rehearsal-old'],
    'and it is no rehearsal that went well',
  )
})

test('a schedule that a living recovery paused is well; any other pause is not, nor is none at all', () => {
  const byRecovery = { paused: true, note: pauseNote('20261122T021400Z-prod') }
  assert.deepEqual(judgeUpkeep('prod', { paused: false, note: '' }, []), [])
  assert.deepEqual(judgeUpkeep('prod', byRecovery, [{ ...dead, alive: true }]), [])
  assert.deepEqual(whats(judgeUpkeep('prod', byRecovery, [])), ['schedule-paused'])
  const [byPerson] = judgeUpkeep('prod', { paused: true, note: 'disk is full' }, [{ ...dead, alive: true }])
  assert.match(byPerson?.evidence ?? '', /disk is full/)
  assert.match(byPerson?.todo ?? '', /schedule-id backup-prod/)
  assert.deepEqual(whats(judgeUpkeep('prod', null, [])), ['schedule-missing'])
})

test('a lock whose run is gone is found with the way to take it over', () => {
  const [found, ...more] = judgeUpkeep('prod', { paused: false, note: '' }, [dead])
  assert.deepEqual(more, [])
  assert.equal(found?.what, 'lock-left')
  assert.match(found.evidence, /cp-01 is held since 2026-11-22T02:14:00Z by recovery\/prod\/1/)
  assert.match(found.todo, /requorum adopt prod/)
})

test('an alarm is raised once, stays the same while anything is found, and is cleared once', () => {
  const [one] = judgeStore(config, NONE, new Date(NOW))
  const [other] = judgeUpkeep('prod', null, [])
  assert.ok(one && other)
  const raised = alarmOf('prod', null, [one], NOW)
  assert.equal(raised.change, 'raised')
  const later = alarmOf('prod', raised.alarm, [other], '2026-11-22T10:30:00.000Z')
  assert.equal(later.change, 'unchanged')
  assert.equal(later.alarm?.key, raised.alarm?.key)
  assert.equal(later.alarm?.since, NOW)
  assert.deepEqual(later.alarm?.findings, [other])
  assert.deepEqual(alarmOf('prod', later.alarm, [], NOW), {
    outcome: 'fresh',
    alarm: null,
    change: 'cleared',
  })
  assert.equal(alarmOf('prod', null, [], NOW).change, 'unchanged')
})

test('the alarm of the look before is read from its result, whatever that is', () => {
  const { alarm } = alarmOf('prod', null, judgeUpkeep('prod', null, []), NOW)
  assert.deepEqual(previousAlarm({ outcome: 'stale', alarm, more: 1 }), alarm)
  for (const none of [undefined, null, 'x', {}, { alarm: null }, { alarm: { key: 1 } }, [alarm]])
    assert.equal(previousAlarm(none), null)
})
