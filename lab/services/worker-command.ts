import { fileURLToPath } from 'node:url'

/**
 * What Node is to run for a worker, wherever one is started, and in what environment.
 *
 * What a relay has passed on is garbage outside V8's heap, which V8 counts only when it collects, and it collects by
 * what is inside: with Node's own 16 MiB for young objects some 130 MiB of spent buffers pile up while three nodes
 * download, with 2 MiB half of that. glibc in turn keeps what is freed in an arena for each thread, up to eight for
 * each CPU: two hold 40 MiB less. Neither costs time (measured, test/lab/backup-memory.test.ts).
 */
export const WORKER_ARGS: readonly string[] = [
  '--max-semi-space-size=2',
  fileURLToPath(new URL('../../workers/main.ts', import.meta.url)),
]
export const WORKER_ENV: Readonly<Record<string, string>> = { MALLOC_ARENA_MAX: '2' }
