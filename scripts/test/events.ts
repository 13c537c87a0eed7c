import { z } from 'zod'

const named = { id: z.number(), name: z.string(), parent: z.number().optional() }

/** What the reporter inside a test file tells the runner, as JSON, one event a line. */
const testEvent = z.discriminatedUnion('kind', [
  /** Known from here on; `parent` is the ID of the suite or test around it, unknown for the outermost. */
  z.object({ kind: z.literal('found'), ...named }),
  z.object({ kind: z.literal('running'), id: z.number() }),
  z.object({
    kind: z.literal('done'),
    ...named, // again, because what is cancelled before it begins was never found
    suite: z.boolean(),
    outcome: z.enum(['passed', 'failed', 'skipped']),
    /** Why it was skipped, where the test says so. */
    reason: z.string().optional(),
    ms: z.number(),
    line: z.number().optional(),
    /** Message, stack and causes, as a person reads them. */
    error: z.string().optional(),
    /** node:test's word for the way it failed, such as `subtestsFailed` or `cancelledByParent`. */
    failure: z.string().optional(),
  }),
  z.object({ kind: z.literal('note'), text: z.string() }),
  /** The last event of a file that came to its end; a file that crashed has none. */
  z.object({ kind: z.literal('end') }),
])

export type TestEvent = z.infer<typeof testEvent>
export type DoneEvent = Extract<TestEvent, { kind: 'done' }>

/** @throws when the line is no event. */
export function readEvent(line: string): TestEvent {
  return testEvent.parse(JSON.parse(line))
}
