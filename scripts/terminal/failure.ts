import type { RequorumError } from '../../domain/failures.ts'
import { indented } from './table.ts'

/**
 * An error as a terminal shows it:
 *
 *     There is no cluster called "prdo". [cluster-unknown]
 *     Why: /root/.requorum/clusters has prod.yaml.
 *     Do:  Did you mean prod?
 */
export function failureText(error: RequorumError, withStack: boolean): string {
  const { what, why, todo } = error.text
  const [first = '', ...more] = what.split('\n')
  return [
    [`${first} [${error.code}]`, ...more].join('\n'),
    ...(why === undefined ? [] : [why.includes('\n') ? `Why:\n${indented(why)}` : `Why: ${why}`]),
    todo.includes('\n') ? `Do:\n${indented(todo)}` : `Do:  ${todo}`,
    ...(withStack ? ['', ...stacks(error)] : []),
  ].join('\n')
}

/** What happened, in one line among others. */
export function failureLine({ text, code }: RequorumError): string {
  return `${text.what.replaceAll(/\s+/g, ' ')} [${code}]`
}

/** The document that `--json` prints for an error. */
export function failureJson(error: RequorumError): { error: Record<string, string | null> } {
  const { what, why, todo } = error.text
  return { error: { code: error.code, what, why: why ?? null, todo } }
}

function stacks(error: unknown): string[] {
  const chain: string[] = []
  for (let at = error; at instanceof Error && chain.length < 10; at = at.cause) {
    chain.push(`${chain.length === 0 ? '' : 'Caused by: '}${at.stack ?? at.message}`)
  }
  return chain
}
