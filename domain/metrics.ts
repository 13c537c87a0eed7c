/**
 * Every metric of Requorum's own that a worker exports, by the name that rules and dashboards know it by. Units are in the
 * names, as Prometheus has it; times are seconds since 1970. docs/metrics.md lists them, and a test holds it to that.
 */
export interface Metric {
  readonly name: string
  readonly kind: 'gauge' | 'counter' | 'histogram'
  readonly labels: readonly string[]
  readonly about: string
}

export const METRICS = {
  snapshotTaken: metric(
    'gauge',
    'requorum_snapshot_taken_timestamp_seconds',
    ['cluster'],
    'When the newest proved snapshot was taken.',
  ),
  snapshotSize: metric(
    'gauge',
    'requorum_snapshot_size_bytes',
    ['cluster'],
    'Size of the newest proved snapshot.',
  ),
  snapshotKeys: metric(
    'gauge',
    'requorum_snapshot_keys',
    ['cluster'],
    'Versions of keys in the newest proved snapshot, as etcdutl counts them.',
  ),
  snapshotRevision: metric(
    'gauge',
    'requorum_snapshot_revision',
    ['cluster'],
    'etcd revision of the newest proved snapshot.',
  ),
  rehearsed: metric(
    'gauge',
    'requorum_rehearsal_success_timestamp_seconds',
    ['cluster'],
    'When a snapshot was last restored and served by a rehearsal.',
  ),
  rehearsalFailed: metric(
    'gauge',
    'requorum_rehearsal_failed',
    ['cluster'],
    '1 while the newest snapshot that was rehearsed could not be restored.',
  ),
  freshnessLimit: metric(
    'gauge',
    'requorum_freshness_limit_seconds',
    ['cluster', 'of'],
    'How old the newest may be by the cluster file: of="proved" and, where rehearsals are on, of="rehearsed".',
  ),
  storeReadable: metric(
    'gauge',
    'requorum_store_readable',
    ['cluster'],
    '1 when the last look into the store was answered, else 0. The snapshot metrics stay as they were.',
  ),
  clusterFileValid: metric(
    'gauge',
    'requorum_cluster_file_valid',
    ['cluster'],
    '0 while the cluster file can not be used, so that nothing is known of its cluster.',
  ),
  schedulePaused: metric(
    'gauge',
    'requorum_schedule_paused',
    ['cluster', 'schedule'],
    '1 while a schedule (backup, freshness, rehearse, drill) is paused.',
  ),
  scheduleLastRun: metric(
    'gauge',
    'requorum_schedule_last_run_timestamp_seconds',
    ['cluster', 'schedule'],
    'When a schedule last started a run.',
  ),
  scheduleNextRun: metric(
    'gauge',
    'requorum_schedule_next_run_timestamp_seconds',
    ['cluster', 'schedule'],
    'When a schedule starts its next run. In the past: it is overdue. 0 while it is paused.',
  ),
  engineReachable: metric(
    'gauge',
    'requorum_engine_reachable',
    [],
    '1 when the last look at the engine was answered.',
  ),
  recoveryRunning: metric(
    'gauge',
    'requorum_recovery_running',
    ['cluster'],
    'Recoveries and drills of the cluster that are under way.',
  ),
  checkpointWaiting: metric(
    'gauge',
    'requorum_checkpoint_waiting_seconds',
    ['cluster'],
    'For how long a checkpoint has been waiting for a person; 0 when none waits.',
  ),
  alarmOpen: metric(
    'gauge',
    'requorum_alarm_open',
    ['cluster', 'finding'],
    '1 while the watch over freshness has that finding open.',
  ),
  databaseSize: metric(
    'gauge',
    'requorum_etcd_database_bytes',
    ['cluster', 'node'],
    "Size of a member's database when it was last looked at.",
  ),
  databaseQuota: metric(
    'gauge',
    'requorum_etcd_quota_bytes',
    ['cluster', 'node'],
    'What that member may grow to before it refuses writes.',
  ),
  runs: metric(
    'counter',
    'requorum_runs_total',
    ['cluster', 'runbook', 'ended', 'outcome'],
    'Runs that ended: `ended` is completed, failed or cancelled, `outcome` the verdict or the failure code.',
  ),
  runEnded: metric(
    'gauge',
    'requorum_run_ended_timestamp_seconds',
    ['cluster', 'runbook', 'ended'],
    'When a run last ended so: a failure that is younger than the last success has not been made good.',
  ),
  activitySeconds: metric(
    'histogram',
    'requorum_activity_seconds',
    ['cluster', 'activity'],
    'How long each phase of the work took, whatever came of it.',
  ),
  failures: metric(
    'counter',
    'requorum_failures_total',
    ['cluster', 'activity', 'code'],
    'Attempts that failed, by the phase of the work and the failure code. Most are tried again.',
  ),
  transferred: metric(
    'counter',
    'requorum_transfer_bytes_total',
    ['cluster', 'direction', 'by'],
    'Bytes of snapshots brought to the store (direction="put") and back ("get"), by the node itself or the worker.',
  ),
} satisfies Record<string, Metric>

function metric<const Kind extends Metric['kind'], const Labels extends readonly string[]>(
  kind: Kind,
  name: string,
  labels: Labels,
  about: string,
) {
  return { kind, name, labels, about }
}
