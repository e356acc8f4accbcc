/**
 * What the compiler does not check: imports run downward only, no promise is left floating, and nothing reaches for the
 * clock, for chance, for the process or its environment except where it is passed in.
 */
import tseslint from 'typescript-eslint';

/**
 * The rooms of the house and what each may import from besides itself and the shared files beside the rooms (clock.ts,
 * ports.ts and the like). main.ts, process.ts, assemble.ts, checks.ts and commands.ts know every room. Types of a room may also be named where
 * values may not.
 */
const ROOMS = {
  contender: { values: [], types: [] },
  runtime: { values: ['contender'], types: ['contender'] },
  config: { values: ['contender'], types: ['contender', 'kube', 'link', 'probe'] },
  kube: { values: [], types: ['contender'] },
  provider: { values: [], types: ['contender'] },
  link: { values: [], types: ['contender'] },
  probe: { values: [], types: [] },
  application: { values: ['kube'], types: ['kube', 'probe'] },
  report: { values: ['contender'], types: ['contender', 'kube', 'probe', 'provider'] },
  control: { values: ['contender'], types: ['contender'] },
  'command-line': { values: ['config', 'contender', 'control', 'kube'], types: ['config', 'contender', 'control', 'kube'] },
};

const names = Object.keys(ROOMS);

const roomRules = names.map((room) => {
  const { values, types } = ROOMS[room];
  const others = names.filter((name) => name !== room);
  const patterns = [
    ...others
      .filter((name) => !values.includes(name))
      .map((name) => ({
        regex: `^\\.\\./${name}/`,
        allowTypeImports: types.includes(name),
        message: `agent/${room} may not import from agent/${name}: imports run downward only.`,
      })),
    { regex: '^\\.\\./(main|process|assemble|checks|commands)\\.ts$', message: 'Nothing imports what puts everything together.' },
    { regex: '/(test|e2e|scripts)/', message: 'The product does not import its tests or tools.' },
    ...(room === 'contender' ? [{ regex: '^(?!\\./)', message: 'The heart imports nothing from outside its folder.' }] : []),
  ];
  return { files: [`agent/${room}/**/*.ts`], rules: { '@typescript-eslint/no-restricted-imports': ['error', { patterns }] } };
});

const REACHING = [
  { object: 'Date', property: 'now', message: 'Time is passed in: use the Clock.' },
  { object: 'performance', property: 'now', message: 'Time is passed in: use the Clock.' },
  { object: 'process', property: 'hrtime', message: 'Time is passed in: use the Clock.' },
  { object: 'Math', property: 'random', message: 'Chance is passed in.' },
  { object: 'AbortSignal', property: 'timeout', message: 'It may not fire under memory pressure: use withDeadline.' },
  { object: 'AbortSignal', property: 'any', message: 'It may not fire under memory pressure: use withDeadline.' },
];

const NO_DYNAMIC_IMPORT = {
  selector: 'ImportExpression',
  message: 'A dynamic import would escape the check that imports run downward only.',
};
const NO_DEFAULT_EXPORT = { selector: 'ExportDefaultDeclaration', message: 'Exports have names.' };

export default tseslint.config(
  { ignores: ['dist/', 'node_modules/'] },
  {
    files: ['**/*.ts'],
    extends: [...tseslint.configs.strictTypeChecked, ...tseslint.configs.stylisticTypeChecked],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      '@typescript-eslint/no-floating-promises': 'error',
      '@typescript-eslint/no-misused-promises': 'error',
      '@typescript-eslint/switch-exhaustiveness-check': ['error', { considerDefaultExhaustiveForUnions: true }],
      '@typescript-eslint/consistent-type-imports': ['error', { fixStyle: 'separate-type-imports' }],
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true, allowBoolean: true }],
      '@typescript-eslint/no-confusing-void-expression': [
        'error',
        { ignoreArrowShorthand: true, ignoreVoidOperator: true, ignoreVoidReturningFunctions: true },
      ],
      '@typescript-eslint/only-throw-error': 'error',
      '@typescript-eslint/consistent-type-definitions': 'off',
      // It takes what a property was before an await for what it is after it, as with signal.aborted.
      '@typescript-eslint/no-unnecessary-condition': 'off',
      // JSON from outside is read by index, so that nobody takes it for an object of known shape.
      '@typescript-eslint/dot-notation': 'off',
      '@typescript-eslint/consistent-indexed-object-style': 'off',
      'no-restricted-syntax': ['error', NO_DYNAMIC_IMPORT, NO_DEFAULT_EXPORT],
    },
  },
  {
    files: ['agent/**/*.ts'],
    ignores: ['agent/process.ts', 'agent/runtime/clock.ts'],
    rules: {
      'no-restricted-properties': ['error', ...REACHING],
      'no-restricted-globals': ['error', 'process', 'setTimeout', 'setInterval', 'setImmediate', 'console', 'fetch'],
    },
  },
  ...roomRules,
  {
    // It loads a package, and no room, that a running agent never needs and should not have in its memory.
    files: ['agent/kube/port-forward.ts'],
    rules: { 'no-restricted-syntax': ['error', NO_DEFAULT_EXPORT] },
  },
  {
    files: ['test/**/*.ts', 'e2e/**/*.ts', 'scripts/**/*.ts'],
    rules: {
      // node:test reports what its functions return by itself.
      '@typescript-eslint/no-floating-promises': [
        'error',
        { allowForKnownSafeCalls: [{ from: 'package', package: 'node:test', name: ['test', 'describe', 'it', 'suite'] }] },
      ],
    },
  },
);
