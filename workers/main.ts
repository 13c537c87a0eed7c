import { NativeConnection, Runtime, Worker } from '@temporalio/worker'
import { createActivities } from '../activities/index.ts'
import { TASK_QUEUE } from '../domain/messages.ts'
import { connectEngine, engineTarget } from './connection.ts'
import { failpointsFrom } from './failpoints.ts'
import { failureInterceptor } from './failure-interceptor.ts'
import { requorumHome } from './home.ts'
import { wire } from './wiring.ts'
import { workflowBundle } from './workflow-bundle.ts'

/** A worker for the home's clusters, until it is told to stop. What it was doing is taken up by the next one. */
async function main(): Promise<void> {
  const home = requorumHome()
  Runtime.install({ shutdownSignals: ['SIGINT', 'SIGTERM'] })
  const engine = await connectEngine(home)
  const connection = await NativeConnection.connect(engineTarget(home).connection)
  const { systems, close } = wire(home, engine.client, Runtime.instance())
  // Only a worker that the crash sweep started in a lab has any.
  const failpoints = failpointsFrom(process.env['REQUORUM_FAILPOINTS'], home)
  const worker = await Worker.create({
    connection,
    namespace: engine.namespace,
    taskQueue: process.env['REQUORUM_TASK_QUEUE'] ?? TASK_QUEUE,
    workflowBundle: await workflowBundle(),
    activities: createActivities(failpoints?.around(systems) ?? systems),
    interceptors: {
      activity: [failureInterceptor, ...(failpoints === null ? [] : [failpoints.interceptor])],
    },
    // A cancelled activity leaves its unit at work on the node; the grace is for its last heartbeat.
    shutdownGraceTime: '10s',
    maxHeartbeatThrottleInterval: '4s',
  })
  // eslint-disable-next-line no-console -- the one line by which a supervisor knows that it is at work
  console.log(`requorum worker ${process.pid}: home ${home}, engine ${engine.address}`)
  try {
    await worker.run()
  } finally {
    await close()
    await connection.close()
    await engine.close()
  }
}

if (import.meta.main) await main()
