/**
 * Who may know whom: the rooms of Requorum. A rule's comment is what the person reads who broke it.
 * test/unit/rooms.test.ts breaks each rule once and fails on a rule that it doesn't break.
 */

const PURE = ['zod', 'yaml', '@noble/hashes', 'lossless-json']

/** Systems that carry others to a node: a connection, steps that outlive it, a control-plane node. */
const CARRIERS_PATH = '^systems/(?:ssh|remote-steps|node)/'

/** Resolved, with its types from @types or not, or bare where it isn't installed. */
function packages(...names) {
  return names.flatMap((name) => [`(?:^|/)node_modules/(?:@types/)?${name}/`, `^${name}(?:/|$)`])
}

function rooms(...names) {
  return `^(?:${names.join('|')})/`
}

function rule(name, comment, from, to) {
  return { name, comment, severity: 'error', from, to }
}

/** Of what only types are imported, nothing is there when the program runs. */
const values = { dependencyTypesNot: ['type-only', 'type-import'] }

/** What could not be found is one fault, reported by no-missing-modules. */
const found = { couldNotResolve: false }

module.exports = {
  forbidden: [
    rule('no-cycles', 'Two modules that need each other are one, or hide a third.', {}, { circular: true }),

    rule(
      'domain-is-pure',
      `domain imports nothing of the project and of others only ${PURE.join(', ')}: no system, no clock, no disk.`,
      { path: rooms('domain') },
      { pathNot: [rooms('domain'), ...packages(...PURE)], ...found },
    ),

    rule(
      'workflows-read-like-the-runbook',
      'workflows import domain, @temporalio/workflow (and /common) and types of activities: anything else is not replayed.',
      { path: rooms('workflows') },
      {
        pathNot: [
          rooms('workflows', 'domain', 'activities'),
          ...packages('@temporalio/workflow', '@temporalio/common'),
        ],
        ...found,
      },
    ),
    rule(
      'workflows-know-types-of-activities',
      "workflows know activities by type: `import type` and proxyActivities, or the activities' systems end up in the sandbox.",
      { path: rooms('workflows') },
      { path: rooms('activities'), ...values },
    ),

    rule(
      'activities-are-thin',
      'activities import domain, systems, @temporalio/activity (and /common) and Node itself: clients belong to a system.',
      { path: rooms('activities') },
      {
        pathNot: [
          rooms('activities', 'domain', 'systems'),
          ...packages('@temporalio/activity', '@temporalio/common'),
        ],
        dependencyTypesNot: ['core'],
        ...found,
      },
    ),

    rule(
      'systems-stay-apart',
      'A system imports its own folder, domain and its own library; those who work on nodes also ssh, remote-steps and node.',
      { path: '^systems/([^/]+)/' },
      {
        path: rooms('systems', 'activities', 'workflows', 'workers', 'scripts', 'lab', 'test'),
        pathNot: ['^systems/$1/', CARRIERS_PATH],
      },
    ),
    rule(
      'ssh-carries',
      'ssh is the lowest of the systems: it knows no other.',
      { path: rooms('systems/ssh') },
      { path: rooms('systems'), pathNot: rooms('systems/ssh') },
    ),
    rule(
      'remote-steps-knows-only-ssh',
      'remote-steps knows ssh and no other system.',
      { path: rooms('systems/remote-steps') },
      { path: rooms('systems'), pathNot: rooms('systems/ssh', 'systems/remote-steps') },
    ),
    rule(
      'stores-are-not-on-nodes',
      'Object stores are reached from the worker: bytes come in as a stream, whatever carried them.',
      { path: rooms('systems/object-store') },
      { path: CARRIERS_PATH },
    ),

    rule(
      'scripts-never-reach-a-node',
      'scripts talk to Temporal and to the lab: what has to happen on a node is an activity.',
      { path: rooms('scripts') },
      { path: CARRIERS_PATH },
    ),
    rule(
      'scripts-start-nothing-themselves',
      'scripts start workflows by name and the worker through workers; of workflows and activities they know types.',
      { path: rooms('scripts') },
      { path: rooms('workflows', 'activities'), ...values },
    ),
    rule(
      'scripts-are-the-top',
      'Nothing imports scripts: what others need lives in a room below.',
      { pathNot: rooms('scripts', 'test') },
      { path: rooms('scripts') },
    ),
    rule(
      'lab-is-outside',
      'The lab is the world around Requorum: it knows neither its runbooks nor its hands nor its processes.',
      { path: rooms('lab') },
      { path: rooms('workflows', 'activities', 'workers') },
    ),
    rule(
      'workers-are-the-only-wiring',
      'Only scripts and tests import workers.',
      { pathNot: rooms('workers', 'scripts', 'test') },
      { path: rooms('workers') },
    ),
    rule(
      'tests-are-for-tests',
      'Nothing imports test but what runs tests and benchmarks.',
      { pathNot: rooms('test', 'scripts') },
      { path: rooms('test') },
    ),

    // One folder per client.
    rule(
      'ssh-client-in-one-folder',
      'node-ssh and ssh2 are imported in systems/ssh alone, which pins host keys and bounds output.',
      { pathNot: rooms('systems/ssh') },
      { path: packages('node-ssh', 'ssh2') },
    ),
    rule(
      's3-client-in-one-folder',
      'The AWS SDK is imported in systems/object-store alone.',
      { pathNot: rooms('systems/object-store') },
      { path: packages('@aws-sdk/[^/]+', '@smithy/[^/]+') },
    ),
    rule(
      'temporal-client-in-its-place',
      'Who talks to the engine: scripts, workers, systems/schedules for activities, and the operator of the lab.',
      {
        path: rooms('workflows', 'activities', 'domain', 'systems', 'lab'),
        pathNot: [rooms('systems/schedules'), '^lab/operator\\.ts$'],
      },
      { path: packages('@temporalio/client', '@temporalio/envconfig') },
    ),
    rule(
      'temporal-worker-in-its-place',
      'A Worker is made in workers, and in tests.',
      { pathNot: rooms('workers', 'test') },
      { path: packages('@temporalio/worker') },
    ),
    rule(
      'temporal-workflow-in-its-place',
      "The workflow sandbox's API does nothing outside of workflows.",
      { pathNot: rooms('workflows', 'test') },
      { path: packages('@temporalio/workflow') },
    ),
    rule(
      'temporal-activity-in-its-place',
      'Heartbeat and cancellation reach a system as arguments; only activities know where they come from.',
      { pathNot: rooms('activities', 'test') },
      { path: packages('@temporalio/activity') },
    ),
    rule(
      'command-line-in-its-place',
      'commander parses command lines, which only scripts have.',
      { pathNot: rooms('scripts', 'test') },
      { path: packages('commander') },
    ),

    rule(
      'no-development-packages',
      'What runs in production is among the dependencies, not the devDependencies.',
      { path: rooms('workflows', 'activities', 'workers', 'domain', 'systems') },
      { dependencyTypes: ['npm-dev'], ...values },
    ),
    rule(
      'no-undeclared-packages',
      'package.json names what is imported; what came along with something else can go away with it.',
      {},
      { dependencyTypes: ['npm-no-pkg', 'npm-unknown'], ...values },
    ),
    rule('no-missing-modules', 'There is no such module.', {}, { couldNotResolve: true }),

    {
      name: 'no-orphans',
      comment: 'Nobody imports it and it imports nothing: is it still needed?',
      severity: 'warn',
      from: {
        orphan: true,
        pathNot: [
          '\\.d\\.m?ts$',
          '^(?:scripts|workers|test)/[^/]+\\.(?:ts|mjs)$', // started by a person or a test
          '\\.test\\.ts$',
          '^scripts/test/reporter\\.ts$', // loaded by node --test-reporter
        ],
      },
      to: {},
    },
  ],
  options: {
    tsPreCompilationDeps: true,
    doNotFollow: { path: 'node_modules' },
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['import', 'node', 'default', 'require', 'types'],
    },
  },
}
