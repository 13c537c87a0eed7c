import type { Command } from 'commander'
import { findingLine } from '../../domain/cluster-file.ts'
import { checkCluster, clusterFile, listClusters } from '../../workers/home.ts'
import { examples, type Act, type Call, type Outcome } from './command.ts'

export function registerConfig(program: Command, act: Act): void {
  const config = program.command('config').description('the files that describe clusters')
  const check = config
    .command('check')
    .description('read cluster files and name every mistake by file, line, column and field')
    .argument('[cluster...]', 'all of them when none is named')
  act(examples(check, ['requorum config check', 'requorum config check prod staging']), checkConfig)
}

async function checkConfig(call: Call): Promise<Outcome> {
  const clusters = call.args.length > 0 ? call.args : await listClusters(call.home)
  const checked = await Promise.all(
    clusters.map(async (cluster) => {
      const file = clusterFile(call.home, cluster)
      return { cluster, file, findings: await checkCluster(call.home, cluster) }
    }),
  )
  const bad = checked.filter(({ findings }) => findings.length > 0)
  const lines = checked.flatMap(({ file, findings }) =>
    findings.length === 0 ? [`${file}: good`] : findings.map((finding) => findingLine(file, finding)),
  )
  return {
    exit: bad.length > 0 || checked.length === 0 ? 'wrong-use' : 'done',
    text:
      checked.length === 0
        ? `There are no cluster files: ${clusterFile(call.home, '<name>')}.\nDo:  Write one; docs/your-cluster.md shows how.`
        : [
            ...lines,
            ...(bad.length === 0
              ? []
              : ['Do:  Correct that and look again. What each field means: docs/your-cluster.md']),
          ].join('\n'),
    json: {
      home: call.home,
      clusters: checked.map(({ cluster, file, findings }) => ({
        cluster,
        file,
        good: findings.length === 0,
        findings,
      })),
    },
  }
}
