import { styleText } from 'node:util'
import { humanSeconds, secondsBetween, type Progress } from '../../domain/progress.ts'

export const say = (line: string): void => console.log(`  ${line}`)
/** In bold on a terminal, and plain in a file. */
export const chapter = (title: string): void => console.log(`\n${styleText('bold', title)}`)

/** One line for each step as it ends. */
export function narrator(): (progress: Progress) => void {
  let told = 0
  return (progress) => {
    for (const step of progress.steps.slice(told)) {
      if (step.endedAt === null) return
      told += 1
      const took = humanSeconds(secondsBetween(step.startedAt, step.endedAt))
      say(
        `${step.state === 'done' ? '✓' : '✗'} ${step.title} (${took})${step.note === null ? '' : `: ${step.note}`}`,
      )
    }
  }
}

export function indent(text: string): string {
  return text
    .split('\n')
    .map((line) => `    ${line}`)
    .join('\n')
}
