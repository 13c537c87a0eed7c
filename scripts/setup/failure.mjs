/**
 * Why the set-up can't go on, for the person who has to act. Everything else that is thrown is a
 * bug of ours and keeps its stack.
 */
export class SetupFailure extends Error {
  /** @param {{ what: string, why: string, todo: string }} parts */
  constructor({ what, why, todo }) {
    super(`${what}\n  Why:         ${indent(why)}\n  What to do:  ${indent(todo)}`)
  }
}

function indent(text) {
  return text
    .trimEnd()
    .split('\n')
    .join(`\n${' '.repeat(15)}`)
}
