import { describe, expect, it } from 'vitest'
import type { Command } from '../src/lib/shapes'
import { commands } from '../src/stores/commands.svelte'

const told = (steps: number, waiting: string): Command =>
  ({ id: 'c1', entity: 'e', attribute: 'a', waiting, steps: Array.from({ length: steps }, () => ({})), requested_at: '' }) as unknown as Command

describe('a command', () => {
  it('keeps what it waits for when the answer to the question comes after the message that said so', () => {
    commands.apply(told(1, 'RTU-1 does not listen'))
    commands.apply(told(1, ''))
    expect(commands.one('c1')?.waiting).toBe('RTU-1 does not listen')
    commands.apply(told(2, ''))
    expect(commands.one('c1')?.waiting).toBe('')
    commands.apply(told(1, 'RTU-1 does not listen'))
    expect(commands.one('c1')?.steps.length).toBe(2)
  })
})
