import { condition } from '@temporalio/workflow'

/** Goes on until somebody ends it. */
export async function waits(): Promise<void> {
  await condition(() => false)
}
