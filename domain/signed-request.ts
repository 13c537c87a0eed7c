/**
 * A request to the store that somebody without credentials may send: good for one object and for minutes. Its URL is a
 * secret as long as it is good. Every header is signed and has to be sent as it is.
 */
export interface SignedRequest {
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
}

/** How the store answered whoever sent it, without the body of a success. */
export interface SignedAnswer {
  /** HTTP's; 0 when no answer came. */
  readonly status: number
  /** The store's error code, as `AccessDenied`; the client's own words when no answer came. Empty for a success. */
  readonly code: string
  readonly message: string
  /** Whether the store can have seen the request; false when no connection came about. */
  readonly mayHaveArrived: boolean
}
