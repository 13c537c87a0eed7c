import { counted, fail, judged, type Finding } from './finding.ts'

/** What reading all Secrets through one API server came to. Their content stays on the node. */
export interface SecretsRead {
  readonly node: string
  readonly listed: number
  /** How many were then asked for one by one, which goes past the server's cache to etcd, and how many came. */
  readonly asked: number
  readonly read: number
  readonly error: string
}

export function judgeSecrets(seen: readonly SecretsRead[]): Finding {
  if (seen.length === 0) return fail('there is no API server to ask')
  const wrong = seen.flatMap(({ node, listed, asked, read, error }) =>
    error === ''
      ? []
      : [
          asked === 0
            ? `${node} can't list the Secrets: ${error}`
            : `${node} reads ${read} of ${asked} Secrets (${listed} listed): ${error}`,
        ],
  )
  const most = Math.max(...seen.map(({ listed }) => listed))
  const fewest = Math.min(...seen.map(({ asked }) => asked))
  const part = fewest < most ? `${fewest} of ${counted(most, 'Secret')}` : counted(most, 'Secret')
  const doubtful = [
    ...(most === 0 && wrong.length === 0 ? ['there is no Secret, so decrypting one was not tried'] : []),
    ...seen.flatMap(({ node, asked, read, error }) =>
      // One that was deleted meanwhile is no matter; all of them would be.
      error === '' && asked > 0 && read === 0 ? [`${node} read none of ${asked}`] : [],
    ),
  ]
  return judged(`${part} read whole from etcd, one by one, through ${counted(seen.length, 'API server')}`, {
    wrong,
    doubtful,
  })
}

/** A token that one API server issued, as another one saw it. The token itself never left the node. */
export interface TokenReviewed {
  readonly issuer: string
  readonly reviewer: string
  readonly user: string | null
  readonly error: string
}

export function judgeTokens(expected: string, seen: readonly TokenReviewed[]): Finding {
  if (seen.length === 0) return fail('there is no API server to ask')
  const wrong = seen.flatMap(({ issuer, reviewer, user, error }) =>
    user === expected
      ? []
      : [
          user === null
            ? `${reviewer} doesn't accept a token of ${issuer}: ${error || 'no reason given'}`
            : `${reviewer} takes a token of ${expected} for ${user}`,
        ],
  )
  const pairs = seen.map(({ issuer, reviewer }) => `${issuer}'s by ${reviewer}`).join(', ')
  return judged(`tokens of ${expected} accepted: ${pairs}`, { wrong })
}
