import type { ProofKind } from './cluster-config.ts'
import type { DecisionRecord } from './consent.ts'
import type { Check } from './verdict.ts'

/** Where a run stands: what the `progress` query answers, and what the details in the Temporal UI show. */
export interface Progress {
  readonly runbook: string
  readonly cluster: string
  readonly workflowId: string
  /** The run as proofs name it: a reset doesn't change it. */
  readonly runId: string
  readonly steps: readonly StepProgress[]
  readonly waiting: WaitingCheckpoint | null
  /** The last hundred decisions that were sent, and how many there were in all. */
  readonly decisions: readonly DecisionRecord[]
  readonly decisionsSeen: number
  readonly checks: readonly Check[]
}

export interface StepProgress {
  readonly title: string
  readonly state: 'running' | 'done' | 'failed'
  readonly startedAt: string
  readonly endedAt: string | null
  readonly note: string | null
}

export interface WaitingCheckpoint {
  readonly name: string
  /** The first eight digits, which people type, and the whole. */
  readonly plan: string
  readonly digest: string
  readonly until: string
  readonly people: number
  /** What proves who decides, by the cluster's policy. */
  readonly proof: ProofKind
  readonly approvedBy: readonly string[]
  /** Markdown: what will happen, what is lost, how to go back. */
  readonly shows: string
  readonly approve: string
  readonly refuse: string
  /** What may be approved instead, each a plan of its own. */
  readonly others?: readonly {
    readonly plan: string
    readonly digest: string
    /** `to take another snapshot`. */
    readonly does: string
    readonly approve: string
  }[]
}

const MARKS = { running: '▶', done: '✓', failed: '✗' } as const

/** Seconds as people read them. */
export function humanSeconds(seconds: number): string {
  if (seconds < 59.5) return `${Math.max(0, Math.round(seconds))} s`
  if (seconds < 3_570) return `${Math.round(seconds / 60)} min`
  if (seconds < 172_620) return `${(seconds / 3_600).toFixed(1)} h`
  return `${Math.round(seconds / 86_400)} d`
}

export function humanBytes(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB']
  let value = bytes
  let unit = 0
  // From where it would be rounded to 1024 on, it is 1.0 of the next unit.
  while (value >= (unit === 0 ? 1_024 : 1_023.5) && unit < units.length - 1) {
    value /= 1_024
    unit += 1
  }
  return unit === 0 ? `${bytes} B` : `${value.toFixed(value < 9.95 ? 1 : 0)} ${units[unit] ?? ''}`
}

/** Text from elsewhere within a line of Markdown: it can't begin another one. */
function inline(text: string): string {
  return text.replaceAll(/\s+/g, ' ')
}

function cell(text: string): string {
  return inline(text).replaceAll('|', '\\|')
}

export function secondsBetween(from: string, to: string): number {
  return (Date.parse(to) - Date.parse(from)) / 1_000
}

/** The run's details as the Temporal UI renders them. */
export function progressMarkdown(progress: Progress): string {
  const waiting = progress.waiting
  const lines = progress.steps.map((step) => {
    const took =
      step.endedAt === null ? '' : ` (${humanSeconds(secondsBetween(step.startedAt, step.endedAt))})`
    return `- ${MARKS[step.state]} ${step.title}${took}${step.note === null ? '' : `: ${inline(step.note)}`}`
  })
  const checks = progress.checks.map(
    (one) => `| ${one.verdict} | ${cell(one.name)} | ${cell(one.evidence)} |`,
  )
  return [
    ...(waiting === null ? [] : [waitingMarkdown(waiting), '']),
    `### Steps`,
    ...lines,
    ...(checks.length === 0
      ? []
      : ['', '### Checks', '| verdict | check | what it saw |', '|---|---|---|', ...checks]),
    ...refusedDecisions(progress),
  ].join('\n')
}

function waitingMarkdown(waiting: WaitingCheckpoint): string {
  const have = waiting.approvedBy.length
  return [
    `## Waits for a person: ${waiting.name} (plan ${waiting.plan})`,
    `${have} of ${waiting.people} approval${waiting.people === 1 ? '' : 's'}${have > 0 ? ` (${waiting.approvedBy.join(', ')})` : ''}, until ${waiting.until}.`,
    '',
    waiting.shows,
    '',
    '**Approve:**',
    '```',
    waiting.approve,
    '```',
    ...(waiting.others ?? []).flatMap(({ does, approve }) => [
      `**Or approve, ${does}:**`,
      '```',
      approve,
      '```',
    ]),
    '**Refuse:**',
    '```',
    waiting.refuse,
    '```',
  ].join('\n')
}

function refusedDecisions(progress: Progress): string[] {
  const refused = progress.decisions.filter((decision) => !decision.counted).slice(-5)
  if (refused.length === 0) return []
  return [
    '',
    `### Decisions that changed nothing (${progress.decisionsSeen} sent in all)`,
    ...refused.map(
      (one) => `- ${one.at}: ${inCode(one.because ?? '')} — \`${inCode(one.sent.slice(0, 120))}\``,
    ),
  ]
}

/** Text within backticks: it can't end them. */
function inCode(text: string): string {
  return inline(text).replaceAll('`', "'")
}
