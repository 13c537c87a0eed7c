import { relative } from 'node:path'
import { defineConfig, globalIgnores } from 'eslint/config'
import tseslint from 'typescript-eslint'

const root = import.meta.dirname

/** Folders with these names collect what nobody owns. A thing goes to the room that knows it. */
const HOMELESS_FOLDER = /(?:^|\/)(utils?|common|helpers?|misc)\//

/** Two rules of this house that no plugin has. */
const house = {
  rules: {
    'no-homeless-folder': {
      meta: {
        type: 'problem',
        schema: [],
        messages: { homeless: 'No folder is called {{name}}: put this beside what it belongs to.' },
      },
      create: (context) => ({
        Program(node) {
          const name = HOMELESS_FOLDER.exec(relative(root, context.filename))?.[1]
          if (name !== undefined) context.report({ node, messageId: 'homeless', data: { name } })
        },
      }),
    },
    'reason-for-disable': {
      meta: {
        type: 'problem',
        schema: [],
        messages: {
          noReason: 'Say why: eslint-disable-next-line <rule> -- <reason>.',
          noRule: 'Name the rule that is switched off.',
        },
      },
      create: (context) => ({
        Program() {
          for (const comment of context.sourceCode.getAllComments()) {
            const directive = /^\s*eslint-disable(?:-next-line|-line)?(?=\s|$)(.*)$/s.exec(comment.value)
            if (directive === null) continue
            const [rules = '', reason = ''] = directive[1].split(/\s-{2,}\s/)
            if (rules.trim() === '') context.report({ loc: comment.loc, messageId: 'noRule' })
            if (reason.trim() === '') context.report({ loc: comment.loc, messageId: 'noReason' })
          }
        },
      }),
    },
  },
}

const noJsonParse = {
  object: 'JSON',
  property: 'parse',
  message: "etcd's 64-bit IDs lose digits: parse with systems/etcd/etcd-json.ts",
}

const noEnvironment = {
  object: 'process',
  property: 'env',
  message: 'Only workers read the environment, through the config schema: take the value as an argument.',
}

const timersLie =
  "Timers of the machine are not replayed: use sleep() or condition() of '@temporalio/workflow'."

export default defineConfig(
  globalIgnores(['.lab/', 'report/', 'node_modules/']),
  {
    linterOptions: { reportUnusedDisableDirectives: 'error' },
    plugins: { house },
    rules: { 'house/no-homeless-folder': 'error', 'house/reason-for-disable': 'error' },
  },

  {
    files: ['**/*.{ts,mts,cts,js,mjs,cjs}'],
    extends: [tseslint.configs.strictTypeChecked],
    languageOptions: { parserOptions: { project: 'tsconfig.json', tsconfigRootDir: root } },
    rules: {
      eqeqeq: ['error', 'always', { null: 'ignore' }],
      'no-console': 'error',
      'no-restricted-properties': ['error', noJsonParse],
      'object-shorthand': 'error',
      'prefer-const': 'error',
      '@typescript-eslint/consistent-type-imports': ['error', { fixStyle: 'inline-type-imports' }],
      '@typescript-eslint/no-import-type-side-effects': 'error',
      // `as const` is always allowed; any other `as` needs a disable comment with its reason.
      '@typescript-eslint/consistent-type-assertions': ['error', { assertionStyle: 'never' }],
      '@typescript-eslint/switch-exhaustiveness-check': [
        'error',
        { considerDefaultExhaustiveForUnions: true, requireDefaultForNonUnion: false },
      ],
      '@typescript-eslint/no-floating-promises': [
        'error',
        {
          // What they return is for callers that wait for one test; node:test itself waits for all.
          allowForKnownSafeCalls: [
            {
              from: 'package',
              package: 'node:test',
              name: ['default', 'test', 'it', 'describe', 'suite', 'skip', 'todo', 'only'],
            },
          ],
        },
      ],
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true }],
      '@typescript-eslint/only-throw-error': [
        'error',
        { allowThrowingAny: true, allowThrowingUnknown: true },
      ],
      '@typescript-eslint/no-unused-vars': [
        'error',
        { argsIgnorePattern: '^_', varsIgnorePattern: '^_', caughtErrors: 'none', ignoreRestSiblings: true },
      ],
      // It doesn't see that a callback has changed a variable, and believes what lib.d.ts says of JSON.stringify.
      '@typescript-eslint/no-unnecessary-condition': 'off',
      '@typescript-eslint/return-await': ['error', 'in-try-catch'],
      // An async function without await turns a throw into a rejection, which interfaces of promises want.
      '@typescript-eslint/require-await': 'off',
      // A third of the time of all rules, for enums, which erasable syntax doesn't have, and for generic classes.
      '@typescript-eslint/no-unsafe-class-instance-assignment': 'off',
      '@typescript-eslint/no-unsafe-enum-assignment': 'off',
      // Matters of taste that get in the way: void callbacks, Promise.withResolvers<void>(), speaking unions.
      '@typescript-eslint/no-confusing-void-expression': 'off',
      '@typescript-eslint/no-invalid-void-type': 'off',
      '@typescript-eslint/no-duplicate-type-constituents': 'off',
      '@typescript-eslint/unified-signatures': 'off',
    },
  },

  // Files that read no output of etcd's, or only their own. Everybody else leaves JSON to etcd-json.ts.
  {
    files: [
      'lab/services/**', // state of the lab's services, answers of OpenBao
      'lab/hosts/lab-hosts.ts', // hosts.json
      'lab/parts/**', // lock.json
      'scripts/**', // our own messages, package.json
      'systems/object-store/**', // manifests, whose revisions and IDs are strings
      'test/unit/**',
      'test/commands/**', // what --json printed
      '*.{js,cjs}',
    ],
    rules: { 'no-restricted-properties': 'off' },
  },

  { files: ['scripts/**', 'lab/**', 'test/replay/record.ts'], rules: { 'no-console': 'off' } },

  {
    files: ['domain/**', 'workflows/**', 'activities/**', 'systems/**'],
    rules: { 'no-restricted-properties': ['error', noJsonParse, noEnvironment] },
  },
  { files: ['systems/object-store/**'], rules: { 'no-restricted-properties': ['error', noEnvironment] } },

  {
    files: ['workflows/**'],
    rules: {
      'no-restricted-globals': [
        'error',
        { name: 'setTimeout', message: timersLie },
        { name: 'setInterval', message: timersLie },
        { name: 'setImmediate', message: timersLie },
      ],
      'no-restricted-properties': [
        'error',
        noJsonParse,
        noEnvironment,
        ...['setTimeout', 'setInterval', 'setImmediate'].map((property) => ({
          object: 'globalThis',
          property,
          message: timersLie,
        })),
      ],
    },
  },

  {
    files: ['test/**'],
    rules: {
      // A test fails just as clearly at the line of the `!`.
      '@typescript-eslint/no-non-null-assertion': 'off',
    },
  },

  // Plain JavaScript runs before there are types: the set-up, and the tools' own config.
  {
    files: ['**/*.{js,mjs,cjs}'],
    extends: [tseslint.configs.disableTypeChecked],
    rules: { '@typescript-eslint/consistent-type-imports': 'off' },
  },
  {
    files: ['**/*.cjs'],
    rules: { '@typescript-eslint/no-require-imports': 'off' },
  },
)
