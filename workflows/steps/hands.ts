import { ActivityCancellationType, proxyActivities } from '@temporalio/workflow'
import type { Activities } from '../../activities/index.ts'

/**
 * One profile of limits and retries for each kind of work. A lost worker is noticed by its heartbeat; a step
 * that goes on by itself on a node is found again by the next attempt.
 */
const HEARTBEAT = '15s'

/** Looks and small answers: quick to give up, so that a person isn't kept waiting for a dead node. */
export const look = proxyActivities<Activities>({
  startToCloseTimeout: '2m',
  heartbeatTimeout: HEARTBEAT,
  retry: { initialInterval: '1s', maximumInterval: '5s', maximumAttempts: 4 },
})

/** Long reading and moving of bytes, before anything is at stake. */
export const transfer = proxyActivities<Activities>({
  startToCloseTimeout: '3h',
  heartbeatTimeout: HEARTBEAT,
  retry: { initialInterval: '2s', maximumInterval: '30s', maximumAttempts: 5 },
})

/** A save that fails is soon tried on another member instead. */
export const save = proxyActivities<Activities>({
  startToCloseTimeout: '3h',
  heartbeatTimeout: HEARTBEAT,
  retry: { initialInterval: '1s', maximumAttempts: 2 },
})

/** Changes on nodes: patient enough for a node to reboot, since an end without an answer means "unknown". */
export const change = proxyActivities<Activities>({
  startToCloseTimeout: '3h',
  heartbeatTimeout: HEARTBEAT,
  retry: { initialInterval: '1s', backoffCoefficient: 1.5, maximumInterval: '15s', maximumAttempts: 20 },
})

/**
 * The same of what the cluster as a whole is told: one node that can't tell it is soon given up for the next. etcd
 * takes a new member only when all voters have been connected for five seconds.
 */
export const tell = proxyActivities<Activities>({
  startToCloseTimeout: '3h',
  heartbeatTimeout: HEARTBEAT,
  retry: { initialInterval: '2s', backoffCoefficient: 1.5, maximumInterval: '15s', maximumAttempts: 5 },
})

/**
 * The way back: it waits for a node about an hour, because half undone is the one state that nobody should be
 * left in. A node that is gone for longer is left to a person, and the others are put back all the same.
 */
export const undo = proxyActivities<Activities>({
  startToCloseTimeout: '3h',
  heartbeatTimeout: HEARTBEAT,
  retry: { initialInterval: '1s', backoffCoefficient: 1.5, maximumInterval: '30s', maximumAttempts: 120 },
})

/** Looks that go on for minutes until something is seen, and are asked for again as long as it is worth it. */
export const vigil = proxyActivities<Activities>({
  startToCloseTimeout: '10m',
  heartbeatTimeout: HEARTBEAT,
  retry: { initialInterval: '1s', maximumInterval: '5s' },
})

/**
 * Checks of a validation. Each has its own limit, which its hand keeps; what is thrown all the same is a worker
 * that was lost. A cancellation is waited for: nothing may still be at work when its canary is removed.
 */
export const examine = proxyActivities<Activities>({
  startToCloseTimeout: '2h',
  heartbeatTimeout: HEARTBEAT,
  cancellationType: ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
  retry: { initialInterval: '1s', maximumInterval: '10s', maximumAttempts: 4 },
})
