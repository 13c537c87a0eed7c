import { writeSync } from 'node:fs'
import type { TestEvent as NodeTestEvent } from 'node:test/reporters'
import { inspect } from 'node:util'
import type { DoneEvent, TestEvent } from './events.ts'

type CompleteData = Extract<NodeTestEvent, { type: 'test:complete' }>['data']

/** File descriptor of the pipe to the runner. */
export const EVENTS_FD = 3

/** node:test's own totals, which it sends as diagnostics of the file. The runner has its own. */
const TOTALS = /^(?:tests|suites|pass|fail|cancelled|skipped|todo|duration_ms) [\d.]+$/

/**
 * A reporter for `node --test-reporter`. Each event is written at once and as it happens, not in the order of
 * the file, so that a crash loses nothing and what hangs can be named. Standard output stays with the tests.
 */
export default async function* report(events: AsyncIterable<NodeTestEvent>): AsyncGenerator<string> {
  for await (const event of events) {
    const told = translate(event)
    if (told !== undefined) send(told)
  }
  send({ kind: 'end' })
  // A reporter has to be a generator; this one has nothing for standard output.
  yield ''
}

function send(event: TestEvent): void {
  writeSync(EVENTS_FD, `${JSON.stringify(event)}\n`)
}

function translate(event: NodeTestEvent): TestEvent | undefined {
  switch (event.type) {
    case 'test:enqueue': {
      const { testId, parentId, name } = event.data
      return { kind: 'found', id: testId, name, ...parentOf(parentId) }
    }
    case 'test:dequeue':
      return { kind: 'running', id: event.data.testId }
    case 'test:complete':
      return doneEvent(event.data)
    case 'test:diagnostic':
      if (event.data.nesting === 0 && TOTALS.test(event.data.message)) return undefined
      return { kind: 'note', text: event.data.message }
    default:
      return undefined
  }
}

function doneEvent(data: CompleteData): DoneEvent {
  const { details, skip, todo } = data
  const done = {
    kind: 'done' as const,
    id: data.testId,
    name: data.name,
    ...parentOf(data.parentId),
    suite: details.type === 'suite',
    ms: details.duration_ms,
    ...(data.line === undefined ? {} : { line: data.line }),
  }
  // A test marked "todo" may fail without failing the run, so passing it proves nothing either.
  const set = isSet(skip) ? { mark: skip, word: '' } : isSet(todo) ? { mark: todo, word: 'todo' } : undefined
  if (set !== undefined) {
    const reason = [set.word, set.mark === true ? '' : set.mark].filter((part) => part !== '').join(': ')
    return { ...done, outcome: 'skipped', ...(reason === '' ? {} : { reason }) }
  }
  if (details.passed) return { ...done, outcome: 'passed' }
  const failure = failureType(details.error)
  return {
    ...done,
    outcome: 'failed',
    error: describeError(details.error?.cause ?? details.error),
    ...(failure === undefined ? {} : { failure }),
  }
}

/** The file itself is node:test's test 0, which nobody has named. */
function parentOf(parentId: number | undefined): { parent?: number } {
  return parentId === undefined || parentId === 0 ? {} : { parent: parentId }
}

function isSet(mark: string | boolean | undefined): mark is string | true {
  return mark !== undefined && mark !== false
}

function failureType(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null || !('failureType' in error)) return undefined
  return typeof error.failureType === 'string' ? error.failureType : undefined
}

/** Message, stack without Node's own frames, and causes. */
function describeError(error: unknown, depth = 0): string {
  if (!(error instanceof Error)) return typeof error === 'string' ? error : inspect(error)
  const stack = error.stack ?? ''
  const text = stack.includes(error.message) ? stack : `${error.name}: ${error.message}\n${stack}`
  const own = text
    .split('\n')
    .filter((line) => !/^\s+at .*\(?node:/.test(line))
    .join('\n')
  const several: unknown[] = error instanceof AggregateError ? error.errors : []
  const inner = error.cause === undefined ? several : [error.cause, ...several]
  if (depth === 5) return own
  return [own, ...inner.map((cause) => `Caused by: ${describeError(cause, depth + 1)}`)].join('\n')
}
