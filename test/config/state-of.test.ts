import assert from 'node:assert/strict'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test, { describe, type TestContext } from 'node:test'
import { ConfigError } from '../../gateway/config/problem.ts'
import { stateDirectoryOf } from '../../gateway/config/state-of.ts'
import { temporaryDirectory } from '../harness/temporary.ts'

/** A function that says where the state of a configuration is. */
function finder(t: TestContext): { cwd: string; stateOf: (yaml: string, env?: NodeJS.ProcessEnv) => string } {
  const cwd = temporaryDirectory(t)
  mkdirSync(join(cwd, 'etc'))
  return {
    cwd,
    stateOf(yaml, env = {}) {
      writeFileSync(join(cwd, 'etc/atlas.yaml'), yaml)
      return stateDirectoryOf({ file: 'etc/atlas.yaml', env, cwd })
    },
  }
}

function problemsOf(action: () => unknown): readonly string[] {
  try {
    action()
  } catch (error) {
    assert.ok(error instanceof ConfigError)
    return error.message.split('\n')
  }
  assert.fail('expected an error')
}

describe('stateDirectoryOf()', () => {
  test('finds it beside the file, in the environment and by default', (t) => {
    const { cwd, stateOf } = finder(t)
    assert.equal(stateOf('state: ./data\n'), join(cwd, 'etc/data'))
    assert.equal(stateOf('state: /var/lib/atlas\n'), '/var/lib/atlas')
    assert.equal(stateOf('state: ./data\n', { ATLAS_STATE: 'other' }), join(cwd, 'other'))
    for (const empty of ['', '{}', '# nothing\n']) assert.equal(stateOf(empty), join(cwd, 'state'))
    assert.equal(stateDirectoryOf({ file: null, env: {}, cwd }), join(cwd, 'state'))
    assert.equal(stateDirectoryOf({ file: null, env: { ATLAS_STATE: '/s' }, cwd }), '/s')
  })

  test('finds it however wrong the rest is', (t) => {
    const { cwd, stateOf } = finder(t)
    const wrong = 'bogus: 1\nlisten: { doh: 7 }\nlisten: []\nupstreams: *nobody\nstate: ./data\nworkers: many\n'
    assert.equal(stateOf(wrong, { ATLAS_WORKERS: '-1', ATLAS_LOG_LEVEL: 'loud', ATLAS_LOGLEVEL: 'louder' }), join(cwd, 'etc/data'))
  })

  test('says where it is wrong itself', (t) => {
    const { stateOf } = finder(t)
    const at = 'etc/atlas.yaml'
    assert.deepEqual(
      problemsOf(() => stateOf('bogus: 1\nstate: [1]\n')),
      [`${at}:2:8: state: expected the path of a directory: received a list`],
    )
    assert.deepEqual(
      problemsOf(() => stateOf('state: a\nstate: b\n')),
      [`${at}:2:1: state: expected the key once: received it at ${at}:1:1 already`],
    )
    assert.deepEqual(
      problemsOf(() => stateOf('', { ATLAS_STATE: 'a', ATLAS_STATE_FILE: 'b' })),
      ['ATLAS_STATE_FILE: state: expected one variable to set it: received ATLAS_STATE too'],
    )
    // the default of a configuration that is none would be another gateway's
    assert.match(problemsOf(() => stateOf('- a\n'))[0] ?? '', /atlas\.yaml:1:1: expected a map of settings/)
  })

  test('says why the file cannot be read', (t) => {
    const { cwd, stateOf } = finder(t)
    assert.match(problemsOf(() => stateOf('state: a\nlisten: [1\n'))[0] ?? '', /^etc\/atlas\.yaml:\d:\d+: expected valid YAML/)
    assert.match(problemsOf(() => stateDirectoryOf({ file: 'none', env: {}, cwd }))[0] ?? '', /^none: expected a file/)
  })
})
