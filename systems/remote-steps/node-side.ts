import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { RequorumError } from '../../domain/failures.ts'
import { shellQuote } from '../ssh/quoting.ts'
import type { RemoteStep } from './remote-step.ts'

// What runs on the node, sent with each call: nothing has to be installed there first.
const part = (name: string) => readFileSync(new URL(`./${name}.sh`, import.meta.url), 'utf8')
const PROTOCOL = `${part('receipts')}\n${part('protocol')}`
const UNIT = `${part('receipts')}\n${part('unit')}`

/** How much of stdout and of stderr a receipt keeps, in bytes; the end of it. */
export const KEEP_BYTES = 64 * 1024
/** How long one call waits on the node, in tenths of a second. */
const TENTHS = 200

export interface Call {
  script: string
  args: string[]
}

/** Finds the newest attempt, starts one where that is due, and waits for it for up to 20 s. */
export function beginCall(step: RemoteStep, caller: string): Call {
  const properties = Object.entries(step.properties ?? {}).map(([name, value]) => {
    if (!/^[A-Za-z]+$/.test(name) || /[\n\0]/.test(value)) throw badStep(step.id, `the property ${name}`)
    return `--property=${name}=${value}`
  })
  // The set line comes first, so that the script finds its arguments where every script does.
  const command = `set -- ${step.args.map(shellQuote).join(' ')}\n${step.script}\n`
  const payload = [
    `UNIT=${base64(UNIT)}`,
    `COMMAND=${base64(command)}`,
    ...(step.secret === undefined ? [] : [`SECRET=${base64(step.secret)}`]),
  ]
  return {
    script: `${PROTOCOL}\n${payload.join('\n')}\nbegin "$@"`,
    args: [
      stepId(step.id),
      digestOf(step),
      caller,
      String(Math.ceil(step.timeoutMs)),
      String(KEEP_BYTES),
      String(TENTHS),
      step.secret === undefined ? 'none' : 'secret',
      ...properties,
    ],
  }
}

/** Waits for an attempt that is known, for up to 20 s. */
export function lookCall(id: string, attempt: number): Call {
  return { script: `${PROTOCOL}\nlook "$@"`, args: [stepId(id), String(attempt), String(TENTHS)] }
}

/** Ends the newest attempt. */
export function stopCall(id: string): Call {
  return { script: `${PROTOCOL}\nstop "$@"`, args: [stepId(id)] }
}

export type Answer =
  | { state: 'ended'; attached: boolean; receipt: Receipt }
  | { state: 'running'; attached: boolean; attempt: number }
  /** Its unit is gone and it left no receipt: the host went down, or systemd itself was killed. */
  | { state: 'lost' }
  /** The id stands for another script or other arguments. */
  | { state: 'refused' }
  /** No attempt was ever started. */
  | { state: 'never' }

/** How an attempt ended: by itself, over its time, by `stopRemoteStep`, from outside, or before it began. */
export const CAUSES = ['exited', 'timed-out', 'stopped', 'killed', 'not-started'] as const
export type Cause = (typeof CAUSES)[number]

export interface Receipt {
  attempt: number
  code: number
  cause: Cause
  startedAt: string
  endedAt: string
  stdout: string
  stderr: string
}

/** Reads the lines of key=value that protocol.sh answers with. */
export function parseAnswer(text: string): Answer {
  const lines = text.split('\n').filter((line) => line.includes('='))
  const fields = new Map(
    lines.map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]),
  )
  const field = (name: string): string => {
    const value = fields.get(name)
    if (value === undefined) throw unreadable(text, name)
    return value
  }
  const whole = (name: string): number => {
    const value = field(name)
    if (!/^\d+$/.test(value)) throw unreadable(text, name)
    return Number(value)
  }
  const attached = fields.get('attached') !== 'no'

  const state = field('state')
  switch (state) {
    case 'lost':
    case 'refused':
    case 'never':
      return { state }
    case 'running':
      return { state, attached, attempt: whole('attempt') }
    case 'ended': {
      const cause = CAUSES.find((known) => known === field('cause'))
      if (!cause) throw unreadable(text, 'cause')
      const receipt: Receipt = {
        attempt: whole('attempt'),
        code: whole('code'),
        cause,
        startedAt: field('started'),
        endedAt: field('ended'),
        stdout: output(field('stdout')),
        stderr: output(field('stderr')),
      }
      return { state, attached, receipt }
    }
    default:
      throw unreadable(text, 'state')
  }
}

function output(encoded: string): string {
  const bytes = Buffer.from(encoded, 'base64')
  if (bytes.length <= KEEP_BYTES) return bytes.toString('utf8')
  return `[the beginning is left out]\n${bytes.subarray(bytes.length - KEEP_BYTES).toString('utf8')}`
}

// What the id stands for. Not the secret, which may be a new one at each try, nor the limits.
function digestOf({ script, args }: RemoteStep): string {
  return createHash('sha256')
    .update(JSON.stringify([script, args]))
    .digest('hex')
}

function base64(text: string): string {
  return shellQuote(Buffer.from(text, 'utf8').toString('base64'))
}

// It names a directory and a unit: no slash, and no dot in front, so that it can't lead elsewhere.
function stepId(id: string): string {
  if (!/^[a-z0-9-][a-z0-9.-]{0,79}$/.test(id)) throw badStep(id, 'the id')
  return id
}

function badStep(id: string, what: string): RequorumError {
  return new RequorumError('unexpected', {
    what: `A step named "${id}" can't be run on a node: ${what} can't be used.`,
    todo: 'Report this: it is a bug in Requorum.',
  })
}

function unreadable(text: string, field: string): RequorumError {
  return new RequorumError('unexpected', {
    what: `A node's answer about a step can't be read: ${field} is missing or strange.`,
    why: text.slice(0, 300),
    todo: 'Report this: it is a bug in Requorum.',
  })
}
