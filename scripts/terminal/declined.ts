/** The last line of a run that nobody let go on, whichever runbook it was. */
interface Declined {
  readonly refused: (of: { readonly cluster: string }) => string
  readonly 'timed-out': (of: { readonly cluster: string }) => string
}

export const NOTHING_CHANGED = declined('changed')
export const NOTHING_REMOVED = declined('removed')

function declined(done: string): Declined {
  return {
    refused: ({ cluster }) => `REFUSED: a person refused. Nothing on ${cluster} was ${done}.`,
    'timed-out': ({ cluster }) => `TIMED OUT: nobody approved in time. Nothing on ${cluster} was ${done}.`,
  }
}
