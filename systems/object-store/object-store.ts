import type { Readable } from 'node:stream'
import type { StoredObject } from '../../domain/snapshot.ts'
import type { SignedAnswer, SignedRequest } from '../../domain/signed-request.ts'
import type { Sha256 } from '../../domain/values.ts'
import type { Part } from '../../domain/parts.ts'

export type { StoredObject }

/** What is to be stored: its size and SHA-256 are known before the first byte goes out. */
export interface NewObject {
  /** The whole key, the configured prefix included. */
  readonly key: string
  readonly sizeBytes: number
  readonly sha256: Sha256
  /**
   * Opens the content from its start; called once per attempt. What it throws, and what its stream fails
   * with, ends the put and reaches the caller unchanged: whoever opened it knows what its errors mean.
   */
  readonly open: () => Promise<Readable>
}

/** The same, to be stored in parts, which make up the whole in their order. */
export interface ObjectInParts extends Pick<NewObject, 'key' | 'sizeBytes'> {
  readonly parts: readonly Part[]
}

/**
 * Who brings a part to the store: somebody else by a request signed for it, who is told by which upload, or this host from
 * a stream.
 */
export type PartCarrier =
  | { readonly send: (part: Part, upload: string, request: SignedRequest) => Promise<SignedAnswer> }
  | { readonly open: (part: Part) => Promise<Readable> }

export interface StoreCallOptions {
  /** Ends the call at once with `cancelled`; the signal's reason is its cause. */
  readonly signal?: AbortSignal | undefined
}

export interface PutOptions extends StoreCallOptions {
  /** Bytes handed to the connection so far. Starts again from a small number when an attempt is repeated. */
  readonly onBytes?: ((sent: number) => void) | undefined
}

/** One version of an object, or a delete marker, as a listing gives it. */
export interface ObjectVersion {
  readonly key: string
  readonly versionId: string
  /** 0 for a delete marker. */
  readonly sizeBytes: number
  /** ISO 8601, UTC. Stores keep it to the second. */
  readonly modifiedAt: string
  readonly isLatest: boolean
  readonly deleteMarker: boolean
}

/**
 * Where snapshots are kept: one bucket that keeps every version, each object encrypted with one KMS key.
 *
 * Keys are whole keys, the configured prefix included. Nothing here overwrites or deletes content.
 *
 * Every method rejects with a `RequorumError`, none of which holds a key, a token or a signature:
 * - `store-unreachable`: no connection, no answer in time, 5xx, throttling. Trying again can help.
 * - `store-refused`: credentials, permissions, bucket, KMS key or a setting are wrong; the store's own words
 *   say which, the `Do:` line says what to do.
 * - `store-object-missing`: no such object or version, or the named version is a delete marker.
 * - `store-mismatch`: the store holds, or was given, something else than what was promised.
 * - `cancelled`: the caller's signal ended it. What it was to do may have been done.
 */
export interface ObjectStore {
  /**
   * Stores it, create-only (`If-None-Match: *`), SSE-KMS with the configured key, its SHA-256 checked by the
   * store before it acknowledges. Repeating it is safe: an object with the same size and checksum that is
   * already there is success, and its version is returned; other content there is `store-mismatch`.
   *
   * Up to three attempts with a fresh stream each. After a lost answer it looks before it sends again.
   *
   * @throws snapshot-too-large above 5 GiB, S3's limit for a single put, before anything is opened.
   */
  put(object: NewObject, options?: PutOptions): Promise<StoredObject>

  /**
   * The same put, sent by somebody else: signed here for this one object, its size, checksum and key, good for 15
   * minutes. What came of it is judged and looked at here.
   *
   * @param send - sends it and says how the store answered; called once per attempt. What it throws ends the put.
   */
  putBy(
    object: Omit<NewObject, 'open'>,
    send: (request: SignedRequest) => Promise<SignedAnswer>,
    options?: StoreCallOptions,
  ): Promise<StoredObject>

  /**
   * A read of exactly that version by somebody else, who keeps the content and checks it. Good for 15 minutes.
   *
   * @param send - sends it and says how the store answered. What it throws reaches the caller unchanged.
   */
  getBy(
    key: string,
    versionId: string,
    send: (request: SignedRequest) => Promise<SignedAnswer>,
    options?: StoreCallOptions,
  ): Promise<void>

  /**
   * Stores it in parts, each checked by the store against its own SHA-256: what S3 does not take in one put. Create-only
   * and encrypted as a put is, and as safe to repeat. A part that an earlier call brought there is not sent again, whatever
   * became of the worker meanwhile; each gets three attempts. After a failure that stays the parts are given up.
   *
   * @returns with `sha256` null and the store's own `hashOfParts`, held against the parts
   */
  putParts(object: ObjectInParts, carrier: PartCarrier, options?: StoreCallOptions): Promise<StoredObject>

  /**
   * Gives up whatever was begun in parts below a prefix before that moment (ISO 8601) and never completed: it is in no
   * listing, and is paid for.
   * @returns the keys it was to become
   */
  abandonParts(prefix: string, before: string, options?: StoreCallOptions): Promise<string[]>

  /** The same rules for a small text, as UTF-8. */
  putText(key: string, text: string, options?: StoreCallOptions): Promise<StoredObject>

  /**
   * What the store says about a version, or about the newest one when none is named; null when it isn't
   * there. A delete marker counts as not there; over a *named* version it hides nothing.
   *
   * `sha256` is null when the store keeps none for it (`hashOfParts` is that of an object in parts) or doesn't tell: AWS gives the
   * checksum of an SSE-KMS object only to callers with `kms:Decrypt`.
   */
  head(key: string, versionId?: string, options?: StoreCallOptions): Promise<StoredObject | null>

  /**
   * Streams exactly that version at constant memory. The body fails with a `RequorumError` when it ends early
   * or late, stalls, or the signal fires. Its content is *not* checked: the caller hashes.
   */
  open(
    key: string,
    versionId: string,
    options?: StoreCallOptions,
  ): Promise<{ readonly body: Readable; readonly sizeBytes: number }>

  /**
   * That version as UTF-8 text. The caller judges the content.
   *
   * @throws output-too-large when it is longer than `maxBytes`; nothing is read then.
   */
  readText(key: string, versionId: string, maxBytes: number, options?: StoreCallOptions): Promise<string>

  /**
   * All versions and delete markers below a prefix, page by page, any number of them. Keys ascend; of one key
   * the newest comes first. S3 dates them to the second and lists markers apart from versions, so a marker and
   * a version of the same second that are both not the latest come in no particular order.
   */
  versions(prefix: string, options?: StoreCallOptions): AsyncIterable<ObjectVersion>

  /**
   * Copies that version within the store, create-only, encrypted and checked as a put is. The copy has no tags.
   * Repeating it is safe: a copy of the same size and checksum that is there already is success.
   *
   * @param from - as `head` gave it, with its checksum: without one nothing can be compared, and it is a mismatch
   */
  copy(from: StoredObject, key: string, options?: StoreCallOptions): Promise<StoredObject>

  /**
   * Sets one tag of that version and leaves its other tags as they are.
   * @returns whether it was not there yet
   */
  tag(
    key: string,
    versionId: string,
    name: string,
    value: string,
    options?: StoreCallOptions,
  ): Promise<boolean>

  /** The tags of that version. */
  tags(key: string, versionId: string, options?: StoreCallOptions): Promise<Readonly<Record<string, string>>>

  /**
   * Proves within seconds that backups can work: the bucket keeps versions, a small object under
   * `<prefix>probe/` can be written with the KMS key and read back, and the key that answered is the one that
   * is configured. Each call leaves one object of some 60 bytes there; let a lifecycle rule expire them.
   */
  check(options?: StoreCallOptions): Promise<void>
}
