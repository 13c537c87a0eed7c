import { Runtime } from '@temporalio/worker'
import { reasonOf, RequorumError } from '../domain/failures.ts'
import type { metricsFrom } from './metrics-address.ts'

/** Temporal's runtime, of which a process has one. @throws RequorumError `input-invalid` when nothing can listen there */
export function installRuntime(exported: ReturnType<typeof metricsFrom>): Runtime {
  try {
    return Runtime.install({
      shutdownSignals: ['SIGINT', 'SIGTERM'],
      ...(exported === null ? {} : { telemetryOptions: { metrics: exported } }),
    })
  } catch (error) {
    if (exported === null) throw error
    throw new RequorumError('input-invalid', {
      what: `The worker can't serve its metrics at ${exported.prometheus.bindAddress}.`,
      why: reasonOf(error),
      todo: 'Give an address of this machine and a port that nobody has: each worker needs its own.',
    })
  }
}
