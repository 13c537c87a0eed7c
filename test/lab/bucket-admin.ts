import { createHash, createHmac } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { manifestKeyOf, snapshotManifestSchema, type SnapshotManifest } from '../../domain/snapshot.ts'
import type { Lab } from '../../lab/lab.ts'

/** One version of an object, or a delete marker. */
export interface Version {
  readonly key: string
  readonly versionId: string
  readonly marker: boolean
  readonly latest: boolean
}

export interface PutOptions {
  /** Has the store compute and keep the content's SHA-256, as it does for Requorum's own. */
  readonly checksum?: boolean
}

/**
 * The lab's bucket as its administrator has it: reads, harms and hides what Requorum stored. Signed by hand
 * (AWS Signature Version 4, path style), because the S3 client belongs to systems/object-store alone.
 */
export class BucketAdmin {
  readonly #lab: Pick<Lab, 'store'>
  readonly #id: string
  readonly #secret: string

  private constructor(lab: Pick<Lab, 'store'>, id: string, secret: string) {
    this.#lab = lab
    this.#id = id
    this.#secret = secret
  }

  static async of(lab: Pick<Lab, 'store'>): Promise<BucketAdmin> {
    const [id, secret] = await accessKey(lab, lab.store.adminProfile)
    return new BucketAdmin(lab, id, secret)
  }

  /** All versions and delete markers below a prefix, by key, of each key the newest first. */
  async versions(prefix: string): Promise<Version[]> {
    const xml = (await this.#request('GET', '', { versions: '', prefix, 'max-keys': '1000' })).toString(
      'utf8',
    )
    return [...xml.matchAll(/<(Version|DeleteMarker)>(.*?)<\/\1>/gs)].map(([, kind, inner = '']) => ({
      key: field(inner, 'Key'),
      versionId: field(inner, 'VersionId'),
      marker: kind === 'DeleteMarker',
      latest: field(inner, 'IsLatest') === 'true',
    }))
  }

  /** Keys that have at least one version, delete markers aside. */
  async keys(prefix: string): Promise<string[]> {
    return [
      ...new Set((await this.versions(prefix)).filter(({ marker }) => !marker).map(({ key }) => key)),
    ].sort()
  }

  get(key: string, versionId?: string): Promise<Buffer> {
    return this.#request('GET', key, versionId === undefined ? {} : { versionId })
  }

  /** What the store says about a version: size, encryption, checksum. */
  async head(key: string, versionId: string): Promise<Headers> {
    const { headers } = await this.#send('HEAD', key, { versionId }, undefined, {
      'x-amz-checksum-mode': 'ENABLED',
    })
    return headers
  }

  /** Stores another version. @returns its version ID */
  async put(key: string, content: Buffer, options: PutOptions = {}): Promise<string> {
    const sum = createHash('sha256').update(content).digest('base64')
    const { headers } = await this.#send(
      'PUT',
      key,
      {},
      content,
      options.checksum ? { 'x-amz-checksum-sha256': sum } : {},
    )
    return headers.get('x-amz-version-id') ?? ''
  }

  /** Puts a delete marker over the key: everything of it stays, and nobody who asks by name sees it. */
  async hide(key: string): Promise<void> {
    await this.#request('DELETE', key)
  }

  /** Takes one version, or a delete marker, away for good. */
  async remove(key: string, versionId: string): Promise<void> {
    await this.#request('DELETE', key, { versionId })
  }

  /** Takes every version of a key away. */
  async removeAll(key: string): Promise<void> {
    for (const version of await this.versions(key)) {
      if (version.key === key) await this.remove(key, version.versionId)
    }
  }

  /** Switches versioning on, or suspends it as AWS calls that. */
  async keepVersions(kept: boolean): Promise<void> {
    const status = kept ? 'Enabled' : 'Suspended'
    const xml = `<VersioningConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Status>${status}</Status></VersioningConfiguration>`
    await this.#send('PUT', '', { versioning: '' }, Buffer.from(xml))
  }

  /** Lets objects be locked, as a bucket may when it keeps versions. There is no way back. */
  async allowLocks(): Promise<void> {
    const xml =
      '<ObjectLockConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><ObjectLockEnabled>Enabled</ObjectLockEnabled></ObjectLockConfiguration>'
    await this.#send('PUT', '', { 'object-lock': '' }, Buffer.from(xml))
  }

  async manifest(snapshotKey: string): Promise<SnapshotManifest> {
    return parseManifest(await this.get(manifestKeyOf(snapshotKey)))
  }

  async #request(method: string, key: string, query: Readonly<Record<string, string>> = {}): Promise<Buffer> {
    const response = await this.#send(method, key, query)
    return Buffer.from(await response.arrayBuffer())
  }

  async #send(
    method: string,
    key: string,
    query: Readonly<Record<string, string>>,
    body?: Buffer,
    more: Readonly<Record<string, string>> = {},
  ): Promise<Response> {
    const { endpoint, region, bucket } = this.#lab.store
    const url = new URL(`/${bucket}${key === '' ? '' : `/${key}`}`, endpoint)
    const asked = Object.entries(query)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, value]) => `${encodeURIComponent(name)}=${encodeURIComponent(value)}`)
      .join('&')
    const time = new Date().toISOString().replace(/[:-]|\.\d{3}/g, '')
    const day = time.slice(0, 8)
    const payload = createHash('sha256')
      .update(body ?? '')
      .digest('hex')
    const headers = Object.entries({
      host: url.host,
      'x-amz-content-sha256': payload,
      'x-amz-date': time,
      ...more,
    }).sort(([a], [b]) => (a < b ? -1 : 1))
    const signed = headers.map(([name]) => name).join(';')
    const canonical = [
      ...[method, url.pathname, asked],
      ...headers.map(([name, value]) => `${name}:${value}`),
      ...['', signed, payload],
    ].join('\n')
    const scope = `${day}/${region}/s3/aws4_request`
    const hash = createHash('sha256').update(canonical).digest('hex')
    const signingKey = [day, region, 's3', 'aws4_request'].reduce<Buffer>(
      (secret, part) => createHmac('sha256', secret).update(part).digest(),
      Buffer.from(`AWS4${this.#secret}`),
    )
    const signature = createHmac('sha256', signingKey)
      .update(['AWS4-HMAC-SHA256', time, scope, hash].join('\n'))
      .digest('hex')
    const response = await fetch(asked === '' ? url : `${url.href}?${asked}`, {
      method,
      headers: {
        ...Object.fromEntries(headers.filter(([name]) => name !== 'host')),
        authorization: `AWS4-HMAC-SHA256 Credential=${this.#id}/${scope}, SignedHeaders=${signed}, Signature=${signature}`,
      },
      ...(body === undefined ? {} : { body: new Uint8Array(body) }),
      signal: AbortSignal.timeout(120_000),
    })
    if (response.ok) return response
    throw new Error(
      `The lab's store answered ${method} ${key} with ${response.status}: ${await response.text()}`,
    )
  }
}

/** Access key and secret of one of the lab's profiles. */
export async function accessKey(
  lab: Pick<Lab, 'store'>,
  profile: string,
): Promise<[id: string, secret: string]> {
  const text = await readFile(lab.store.credentialsFile, 'utf8')
  const section = text.split(/^(?=\[)/m).find((part) => part.startsWith(`[${profile}]`)) ?? ''
  const value = (name: string): string => new RegExp(`^${name}\\s*=\\s*(\\S+)`, 'm').exec(section)?.[1] ?? ''
  const [id, secret] = [value('aws_access_key_id'), value('aws_secret_access_key')]
  if (id === '' || secret === '')
    throw new Error(`The lab's credentials file has no whole profile "${profile}".`)
  return [id, secret]
}

export function parseManifest(content: Buffer): SnapshotManifest {
  // eslint-disable-next-line no-restricted-properties -- our own manifest: 64-bit values are strings in it
  return snapshotManifestSchema.parse(JSON.parse(content.toString('utf8')))
}

function field(xml: string, name: string): string {
  return new RegExp(`<${name}>([^<]*)</${name}>`).exec(xml)?.[1] ?? ''
}
