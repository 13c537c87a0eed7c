import { NativeConnection, Worker } from '@temporalio/worker'
import { createActivities } from '../activities/index.ts'
import { TASK_QUEUE } from '../domain/messages.ts'
import { Metrics } from '../systems/metrics/metrics.ts'
import { connectEngine, engineTarget } from './connection.ts'
import { failpointsFrom } from './failpoints.ts'
import { failureInterceptor } from './failure-interceptor.ts'
import { listClusters, requorumHome } from './home.ts'
import { measured, measuringInterceptor } from './measuring.ts'
import { metricsFrom } from './metrics-address.ts'
import { observe } from './observer.ts'
import { installRuntime } from './runtime.ts'
import { wire } from './wiring.ts'
import { workflowBundle } from './workflow-bundle.ts'

/** A worker for the home's clusters, until it is told to stop. What it was doing is taken up by the next one. */
async function main(): Promise<void> {
  const home = requorumHome()
  const exported = metricsFrom(process.env['REQUORUM_METRICS'])
  const { logger, metricMeter } = installRuntime(exported)
  const metrics = new Metrics(metricMeter)
  const engine = await connectEngine(home)
  const connection = await NativeConnection.connect(engineTarget(home).connection)
  const { systems, close } = wire(home, engine.client, { logger }, metrics)
  // Only a worker that the crash sweep started in a lab has any.
  const failpoints = failpointsFrom(process.env['REQUORUM_FAILPOINTS'], home)
  const worker = await Worker.create({
    connection,
    namespace: engine.namespace,
    taskQueue: process.env['REQUORUM_TASK_QUEUE'] ?? TASK_QUEUE,
    workflowBundle: await workflowBundle(),
    activities: measured(createActivities(failpoints?.around(systems) ?? systems), metrics),
    interceptors: {
      activity: [
        failureInterceptor,
        measuringInterceptor(metrics),
        ...(failpoints === null ? [] : [failpoints.interceptor]),
      ],
    },
    // A cancelled activity leaves its unit at work on the node; the grace is for its last heartbeat.
    shutdownGraceTime: '10s',
    maxHeartbeatThrottleInterval: '4s',
  })
  // eslint-disable-next-line no-console -- the one line by which a supervisor knows that it is at work
  console.log(
    `requorum worker ${process.pid}: home ${home}, engine ${engine.address}${exported === null ? '' : `, metrics http://${exported.prometheus.bindAddress}/metrics`}`,
  )
  const over = new AbortController()
  const clusters = (): Promise<string[]> => listClusters(home)
  if (exported !== null)
    void observe({ clusters, systems, engine: engine.client, metrics, logger }, over.signal)
  try {
    await worker.run()
  } finally {
    over.abort()
    await close()
    await connection.close()
    await engine.close()
  }
}

if (import.meta.main) await main()
