import { describe, expect, it } from 'vitest'
import { csv } from '../src/lib/csv'
import { rows } from '../src/lib/groups'
import { byUrgency } from '../src/lib/severity'
import type { Alarm } from '../src/lib/shapes'
import { cluster } from '../src/map/cluster'
import { scrollTo, visible } from '../src/lib/virtual'

function alarm(id: string, changes: Partial<Alarm> = {}): Alarm {
  const base = { level: 'alert', state: 'unacknowledged', raised_at: '2026-11-22T10:00:00Z', group: null, location: [126.7, 37.6] }
  return { id, ...base, ...changes } as Alarm
}
const ids = (list: readonly { id: string }[]): string[] => list.map((one) => one.id)

describe('the order of alarms', () => {
  it('puts what waits before what is acknowledged, then the higher level, then the newer', () => {
    const list = [
      alarm('acked serious', { level: 'serious', state: 'acknowledged' }),
      alarm('older alert'),
      alarm('newer alert', { raised_at: '2026-11-22T10:05:00Z' }),
      alarm('serious', { level: 'serious', raised_at: '2026-11-22T09:00:00Z' }),
      alarm('returned', { level: 'attention', state: 'returned_unacknowledged' }),
    ]
    expect(ids(list.sort(byUrgency))).toEqual(['serious', 'newer alert', 'older alert', 'returned', 'acked serious'])
  })
})

describe('a flood', () => {
  const list = [
    alarm('late serious', { level: 'serious', group: 'burst', raised_at: '2026-11-22T10:09:00Z' }),
    alarm('first serious', { level: 'serious', group: 'burst', raised_at: '2026-11-22T10:01:00Z' }),
    alarm('alone', { group: 'other' }),
    alarm('first of all', { level: 'attention', group: 'burst', raised_at: '2026-11-22T09:59:00Z' }),
  ]
  it('shows one row per cause, led by the first alarm of its highest level', () => {
    const shown = rows(list, true, new Set())
    expect(shown.map((row) => [row.alarm.id, row.count])).toEqual([['first serious', 3], ['alone', 1]])
  })
  it('shows the members of an opened cause below it', () => {
    const shown = rows(list, true, new Set(['burst']))
    expect(shown.map((row) => row.alarm.id)).toEqual(['first serious', 'late serious', 'first of all', 'alone'])
  })
  it('changes nothing when there is none', () => {
    expect(rows(list, false, new Set()).map((row) => row.count)).toEqual([1, 1, 1, 1])
  })
  it('loses no alarm: the counts add up', () => {
    expect(rows(list, true, new Set()).reduce((sum, row) => sum + row.count, 0)).toBe(list.length)
  })
})

describe('markers on the map', () => {
  const project = ([lon, lat]: [number, number]): [number, number] => [lon, lat]
  const size = { width: 1000, height: 800 }
  it('joins those that would cover each other under the most urgent and counts them', () => {
    const found = cluster([alarm('a', { location: [100, 100] }), alarm('b', { location: [110, 105] }), alarm('c', { location: [400, 100] })], project, size)
    expect(found.map((marker) => [marker.alarm.id, marker.count])).toEqual([['a', 2], ['c', 1]])
    expect(found[0]?.ids).toEqual(['a', 'b'])
  })
  it('never leaves two closer than the distance it keeps', () => {
    const many = Array.from({ length: 2000 }, (_, i) => alarm(String(i), { location: [(i * 37) % 1000, (i * 91) % 800] }))
    const found = cluster(many, project, size, 30)
    expect(found.reduce((sum, marker) => sum + marker.count, 0)).toBe(2000)
    const nearest = found.flatMap((a, i) => found.slice(i + 1).map((b) => Math.hypot(a.x - b.x, a.y - b.y)))
    expect(nearest.reduce((least, one) => Math.min(least, one), Infinity)).toBeGreaterThanOrEqual(30)
  })
  it('leaves out what has no place and what is far outside', () => {
    expect(cluster([alarm('nowhere', { location: null }), alarm('far', { location: [5000, 0] })], project, size)).toEqual([])
  })
})

describe('a long list', () => {
  it('has only the rows in sight and a few more', () => {
    const seen = visible(10_000, 28, 28_000, 560)
    expect(seen).toEqual({ first: 996, last: 1024 })
  })
  it('stays within its ends', () => {
    expect(visible(3, 28, 0, 560)).toEqual({ first: 0, last: 3 })
    expect(visible(0, 28, 900, 560)).toEqual({ first: 0, last: 0 })
  })
  it('scrolls no further than needed', () => {
    expect(scrollTo(5, 28, 0, 560)).toBe(0)
    expect(scrollTo(20, 28, 0, 560)).toBe(28)
    expect(scrollTo(2, 28, 280, 560)).toBe(56)
  })
})

describe('CSV', () => {
  it('quotes what needs it and marks itself as UTF-8', () => {
    expect(csv([['a', 'say "hi", 김포', null]])).toBe('\uFEFFa,"say ""hi"", 김포",\r\n')
  })
  it('keeps a text a text where a spreadsheet would run it, and a number a number', () => {
    expect(csv([['=1+1', -3.5]])).toBe("\uFEFF'=1+1,-3.5\r\n")
  })
})
