import { isIP } from 'node:net'
import { RequorumError } from '../domain/failures.ts'
import { METRICS } from '../domain/metrics.ts'

/** From a look that is answered at once to a snapshot of gigabytes, in seconds. */
const DURATIONS = [0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1_800, 3_600]

/**
 * Where Prometheus finds the worker's metrics and those of Temporal's SDK: `127.0.0.1:9464`. Nobody has to log in there, so
 * the address is one that only the monitoring reaches.
 *
 * @param address - REQUORUM_METRICS
 * @returns what the SDK's runtime takes; null when no metrics are asked for
 * @throws RequorumError `input-invalid`
 */
export function metricsFrom(address: string | undefined) {
  if (address === undefined || address === '') return null
  const [, bracketed, plain, port] = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(address) ?? []
  if (isIP(bracketed ?? plain ?? '') === 0 || Number(port) < 1 || Number(port) > 65_535) {
    throw new RequorumError('input-invalid', {
      what: `"${address}" is no address to serve metrics at.`,
      why: 'it has to be an IP address of this machine and a port',
      todo: 'Give one like 127.0.0.1:9464, or [::1]:9464.',
    })
  }
  return {
    // A label that says the same of all of them.
    attachServiceName: false,
    prometheus: {
      bindAddress: address,
      useSecondsForDurations: true,
      histogramBucketOverrides: { [METRICS.activitySeconds.name]: DURATIONS },
    },
  }
}
