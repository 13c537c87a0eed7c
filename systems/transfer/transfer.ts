import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { RequorumError } from '../../domain/failures.ts'
import { partBytesFor, partsOf, type Part } from '../../domain/parts.ts'
import type { SignedAnswer, SignedRequest } from '../../domain/signed-request.ts'
import { packing, type Packing, type SnapshotManifest } from '../../domain/snapshot.ts'
import { lastLine, type ControlPlaneNode, type Watching } from '../node/control-plane-node.ts'
import { SHA256 } from '../node/sha256.ts'
import { runRemoteStep, type StepReceipt } from '../remote-steps/remote-steps.ts'

const script = (name: string): string => readFileSync(new URL(name, import.meta.url), 'utf8')
const SEND = script('./curl.sh') + script('./send.sh')
const SEND_PART = script('./curl.sh') + script('./send-part.sh')
const PACK = SHA256 + script('./pack.sh')
const FETCH = SHA256 + script('./curl.sh') + script('./fetch.sh')

/** What has arrived after this is not given up, as the node may be cut off for a while; what sends goes on without us. */
const PATIENCE_MS = 120_000
const PROBE_SECONDS = 5

/**
 * Whether the node can reach the store by itself: it has curl, and something answers at the endpoint, whatever it says.
 * @returns null, or why not
 */
export async function reachesStore(at: ControlPlaneNode, signal: AbortSignal): Promise<string | null> {
  const { endpoint, region } = at.config.store
  const url = endpoint ?? `https://s3.${region}.amazonaws.com`
  const limits = ['--connect-timeout', '3', '--max-time', String(PROBE_SECONDS)]
  const asked = await at.shell.run(
    at.node,
    ['curl', '--silent', '--show-error', '--output', '/dev/null', ...limits, '--', url],
    { signal },
  )
  return asked.code === 0 ? null : lastLine(asked.stderr) || `curl ended with ${asked.code}`
}

/**
 * Has the node put a file into the store by a request that was signed for it. It runs on when the connection is lost, and
 * a second call for the same file and key finds it; one that failed is sent anew.
 *
 * @throws RequorumError what the connection throws, `step-failed` when the node could not even ask
 */
export async function sendFile(
  at: ControlPlaneNode,
  { path, key }: { readonly path: string; readonly key: string },
  request: SignedRequest,
  watching: Watching,
): Promise<SignedAnswer> {
  const receipt = await transferStep(at, { verb: 'send', key, script: SEND, args: [path] }, request, watching)
  return answerOf(at, receipt, 0)
}

/**
 * Has the node put one part of a file into the store, as `sendFile` does the whole. Told again of a part that it has
 * stored for this upload, it does not send it again.
 *
 * @param upload - tells this upload from others of the same key
 */
export async function sendPart(
  at: ControlPlaneNode,
  { path, key, part, upload }: { path: string; key: string; part: Part; upload: string },
  request: SignedRequest,
  watching: Watching,
): Promise<SignedAnswer> {
  const work = {
    verb: 'send',
    key: `${key} ${upload} ${part.number}`,
    script: SEND_PART,
    args: [path, String(part.offset), String(part.sizeBytes)],
  }
  return answerOf(at, await transferStep(at, work, request, watching), 0)
}

/** The parts of a file, with the SHA-256 of each as the node reads it. */
export async function partsOfFile(
  at: ControlPlaneNode,
  { path, sizeBytes }: { readonly path: string; readonly sizeBytes: number },
  signal: AbortSignal,
): Promise<Part[]> {
  const partBytes = partBytesFor(sizeBytes, at.config.transfer.partSize)
  const read = await at.shell.run(
    at.node,
    ['split', `--bytes=${partBytes}`, '--filter=sha256sum', '--', path],
    { timeoutMs: at.config.limits.transfer, signal },
  )
  const hashes = read.stdout.split('\n').flatMap((line) => (line === '' ? [] : [line.slice(0, 64)]))
  if (read.code === 0 && hashes.length === Math.ceil(sizeBytes / partBytes))
    return partsOf(sizeBytes, partBytes, hashes)
  throw new RequorumError('step-failed', {
    what: `${at.node.name}: the parts of ${path} could not be hashed (code ${read.code}).`,
    why:
      lastLine(read.stderr) ||
      `${hashes.length} parts of ${partBytes} bytes, and the file had ${sizeBytes} bytes`,
    todo: 'It is tried again. Look at the disk of that node if it happens again.',
  })
}

/**
 * Packs a file beside itself. A second call finds what the first one made.
 *
 * @throws RequorumError `step-failed`, mostly for want of room
 */
export async function packFile(
  at: ControlPlaneNode,
  path: string,
  watching: Watching,
): Promise<{ readonly path: string; readonly packed: Packing }> {
  const work = { verb: 'pack', key: path, script: PACK, args: [path], properties: { Nice: '10' } }
  const receipt = await transferStep(at, work, null, watching)
  if (receipt.code === 10) {
    const field = (name: string): string => fieldOf(receipt, name)
    const packed = packing.parse({
      by: field('by'),
      sizeBytes: Number(field('size')),
      sha256: field('sha256'),
    })
    return { path: field('path'), packed }
  }
  throw new RequorumError('step-failed', {
    what: `${at.node.name}: ${path} could not be packed (code ${receipt.code}).`,
    why: lastLine(receipt.stderr) || 'it said nothing',
    todo: `Look at the disk of ${at.node.name}; transfer: { compression: none } stores it as it is.`,
  })
}

/**
 * Has the node get a snapshot from the store, unpacked, and checked against its SHA-256 before it has its name.
 *
 * @throws RequorumError `snapshot-damaged` when the content is another; `no-space`; and as `sendFile`
 */
export async function fetchFile(
  at: ControlPlaneNode,
  { key, sha256, packed }: Pick<SnapshotManifest, 'key' | 'sha256' | 'packed'>,
  path: string,
  request: SignedRequest,
  watching: Watching,
): Promise<SignedAnswer> {
  const digests = packed === undefined ? [sha256] : [packed.sha256, packed.by, sha256]
  const work = { verb: 'fetch', key, script: FETCH, args: [path, ...digests] }
  const receipt = await transferStep(at, work, request, watching)
  if (receipt.code === 69) {
    throw new RequorumError('step-failed', {
      what: `${at.node.name} has no ${packed?.by ?? ''} to unpack ${key} with.`,
      todo: `Install it there; or have the worker unpack it: transfer: { way: relay }, or auto.`,
    })
  }
  if (receipt.code === 65) {
    throw new RequorumError('snapshot-damaged', {
      what: `${key} can't be restored from.`,
      why: `what ${at.node.name} got has another SHA-256 than its manifest`,
      todo: 'The next older snapshot is taken. Keep this one for study.',
    })
  }
  if (receipt.code === 74) {
    throw new RequorumError('no-space', {
      what: `${at.node.name}: the snapshot could not be written to ${path}.`,
      why: fieldOf(receipt, 'why'),
      todo: `Make room on ${at.node.name}; nothing else was touched.`,
    })
  }
  return answerOf(at, receipt, 10)
}

interface Work {
  readonly verb: string
  readonly key: string
  readonly script: string
  readonly args: readonly string[]
  /** Of its unit. */
  readonly properties?: Record<string, string>
}

/** @param request - to the store, which the script finds on its standard input */
function transferStep(
  at: ControlPlaneNode,
  { verb, key, script, args, properties = {} }: Work,
  request: SignedRequest | null,
  watching: Watching,
): Promise<StepReceipt> {
  const timeoutMs = at.config.limits.transfer
  // With the script in it: an id stands for one script, and the next release may have another.
  const name = createHash('sha256')
    .update(JSON.stringify([key, script, args]))
    .digest('hex')
    .slice(0, 16)
  return runRemoteStep(
    at.shell,
    at.node,
    {
      ...{ id: `${verb}.${name}`, script: `set -eu\n${script}`, args: [...args], timeoutMs, properties },
      ...(request === null ? {} : { secret: curlConfig(request, at.config.transfer.bandwidth) }),
    },
    { signal: watching.signal, onBeat: () => watching.onBeat(), patienceMs: PATIENCE_MS },
  )
}

/** As curl reads it from standard input (curl(1), --config): quoted, with backslashes doubled. */
export function curlConfig({ url, headers }: SignedRequest, bytesPerSecond?: number): string {
  const quoted = (text: string): string => `"${text.replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"`
  return [
    `url = ${quoted(url)}`,
    ...Object.entries(headers).map(([name, value]) => `header = ${quoted(`${name}: ${value}`)}`),
    ...(bytesPerSecond === undefined ? [] : [`limit-rate = ${bytesPerSecond}`]),
    '',
  ].join('\n')
}

/** No connection came about: unknown host, refused, no route, or no TLS. */
const NEVER_CONNECTED = ['5', '6', '7', '35', '60']

/** @param done - the code that the script ends with when all of it was done */
export function answerOf(
  at: Pick<ControlPlaneNode, 'node'>,
  receipt: Pick<StepReceipt, 'code' | 'stdout' | 'stderr'>,
  done: number,
): SignedAnswer {
  const field = (name: string): string => fieldOf(receipt, name)
  const [status, curl] = [Number(field('status')), field('curl')]
  // Also of an answer that broke off: what came of its body is not what was asked for.
  if (curl !== '' && curl !== '0') {
    return {
      status: 0,
      // As Node calls what curl could not do, so that it means the same.
      code: NEVER_CONNECTED.includes(curl) ? 'ECONNREFUSED' : 'ECONNRESET',
      message: `${at.node.name}: ${field('why').trim() || `curl ended with ${curl}`}`,
      mayHaveArrived: !NEVER_CONNECTED.includes(curl),
    }
  }
  if (curl === '' || (status < 300 && receipt.code !== done)) {
    throw new RequorumError('step-failed', {
      what: `${at.node.name} did not come to an end with the store (code ${receipt.code}).`,
      why: lastLine(receipt.stderr) || 'it said nothing',
      todo: 'It is tried again; transfer: { way: relay } goes through the worker instead.',
    })
  }
  return { status, code: field('code'), message: field('message'), mayHaveArrived: true }
}

function fieldOf({ stdout }: Pick<StepReceipt, 'stdout'>, name: string): string {
  return new RegExp(`^${name}=(.*)$`, 'm').exec(stdout)?.[1] ?? ''
}
