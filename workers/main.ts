import { NativeConnection, Runtime, Worker, bundleWorkflowCode } from '@temporalio/worker'
import { fileURLToPath } from 'node:url'
import { createActivities } from '../activities/index.ts'
import { TASK_QUEUE } from '../domain/messages.ts'
import { connectEngine, engineTarget } from './connection.ts'
import { failpointsFrom } from './failpoints.ts'
import { failureInterceptor } from './failure-interceptor.ts'
import { requorumHome } from './home.ts'
import { wire } from './wiring.ts'

/** Where the bundler starts, and the interceptors that belong to the workflows; a replay needs the same. */
export const WORKFLOW_CODE = {
  workflowsPath: fileURLToPath(new URL('../workflows/index.ts', import.meta.url)),
  workflowInterceptorModules: [fileURLToPath(new URL('../workflows/interceptors.ts', import.meta.url))],
}

/** A worker for the home's clusters, until it is told to stop. What it was doing is taken up by the next one. */
async function main(): Promise<void> {
  const home = requorumHome()
  Runtime.install({ shutdownSignals: ['SIGINT', 'SIGTERM'] })
  const engine = await connectEngine(home)
  const connection = await NativeConnection.connect(engineTarget(home).connection)
  const { systems, close } = wire(home, engine.client, Runtime.instance())
  // Only a worker that the crash sweep started in a lab has any.
  const failpoints = failpointsFrom(process.env['REQUORUM_FAILPOINTS'], home)
  const built = process.env['REQUORUM_WORKFLOW_BUNDLE']
  const worker = await Worker.create({
    connection,
    namespace: engine.namespace,
    taskQueue: process.env['REQUORUM_TASK_QUEUE'] ?? TASK_QUEUE,
    workflowBundle: built === undefined ? await bundleWorkflowCode(WORKFLOW_CODE) : { codePath: built },
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
