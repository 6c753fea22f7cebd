import { describe, expect, it } from 'vitest'
import { command } from '../src/lib/keys'
import { isOlder, mayTick, nextPhase } from '../src/lib/phases'
import { ago, clockLocal, isoLocal, isStale } from '../src/lib/times'
import { amount, sign } from '../src/lib/units'
import { fault } from '../src/lib/validity'
import { append, type Series } from '../src/stores/history'
import { Latest } from '../src/stores/latest'

function key(key: string, changes: object = {}): Parameters<typeof command>[0] {
  const letter = /^[a-z]$/i.test(key) ? `Key${key.toUpperCase()}` : key
  return { key, code: letter, isComposing: false, ctrlKey: false, altKey: false, metaKey: false, target: { tagName: 'BODY' }, ...changes }
}

describe('keys', () => {
  it('takes letters, digits and signs as they are', () => {
    expect(['j', 'A', '1', '/', '?', 'Enter'].map((one) => command(key(one)))).toEqual(['j', 'a', '1', '/', '?', 'Enter'])
    expect(command(key(' '))).toBe('Space')
  })
  it('takes a letter by its place while a Korean or Chinese input method is on', () => {
    expect(command(key('ㅁ', { code: 'KeyA' }))).toBe('a')
    expect(command(key('Process', { code: 'KeyJ' }))).toBe('j')
    expect(command(key('Process', { code: 'Digit3' }))).toBe('3')
  })
  it('takes nothing while a word is composed, a field is filled in or a modifier is held', () => {
    expect(command(key('a', { isComposing: true }))).toBeNull()
    expect(command(key('a', { target: { tagName: 'INPUT', type: 'text' } }))).toBeNull()
    expect(command(key('a', { target: { tagName: 'TEXTAREA' } }))).toBeNull()
    expect(command(key('a', { ctrlKey: true }))).toBeNull()
  })
  it('leaves Enter and Space to a button that has the focus, and letters to us', () => {
    const onButton = { target: { tagName: 'BUTTON' } }
    expect(command(key('Enter', onButton))).toBeNull()
    expect(command(key(' ', onButton))).toBeNull()
    expect(command(key('j', onButton))).toBe('j')
    expect(command(key('j', { target: { tagName: 'INPUT', type: 'checkbox' } }))).toBe('j')
  })
  it('lets Escape out of a field', () => {
    expect(command(key('Escape', { target: { tagName: 'INPUT', type: 'text' } }))).toBe('Escape')
  })
})

describe('an incident', () => {
  it('advances to verify; closing asks for a cause', () => {
    expect(nextPhase({ phase: 'assess', state: 'open' })).toBe('warn')
    expect(nextPhase({ phase: 'verify', state: 'open' })).toBeNull()
  })
  it('is evaluated after it was closed, and only those steps can be ticked then', () => {
    expect(nextPhase({ phase: 'close', state: 'closed' })).toBe('evaluate')
    expect(nextPhase({ phase: 'evaluate', state: 'closed' })).toBeNull()
    expect(mayTick({ state: 'closed' }, 'evaluate')).toBe(true)
    expect(mayTick({ state: 'closed' }, 'handle')).toBe(false)
  })
})

describe('times', () => {
  const at = new Date('2026-11-22T19:47:50Z')
  it('are ISO with 24 hours in the city, whatever the browser thinks', () => {
    expect(isoLocal(at, 'Asia/Seoul')).toBe('2026-11-23 04:47:50')
    expect(isoLocal(new Date('2026-11-22T15:00:00Z'), 'Asia/Seoul')).toBe('2026-11-23 00:00:00')
  })
  it('name the day when it is another one', () => {
    expect(clockLocal(at, 'Asia/Seoul', at)).toBe('04:47:50')
    expect(clockLocal(at, 'Asia/Seoul', new Date('2026-11-24T01:00:00Z'))).toBe('11-23 04:47')
  })
  it('are ages in the largest whole unit', () => {
    const format = new Intl.RelativeTimeFormat('en', { style: 'short', numeric: 'always' })
    expect([5, 65, 7300].map((seconds) => ago(seconds, format))).toEqual(['5 sec. ago', '1 min. ago', '2 hr. ago'])
  })
  it('make a value stale after twice its period, five minutes when it has none', () => {
    expect([isStale(20, 10), isStale(21, 10), isStale(299, null), isStale(301, null)]).toEqual([false, true, false, true])
  })
})

describe('values', () => {
  const number = (digits: number): Intl.NumberFormat => new Intl.NumberFormat('en', { maximumFractionDigits: digits })
  it('have four significant digits and no exponent', () => {
    expect([412.34, 0.041_72, 12_380.4, 7, null].map((one) => amount(one, number))).toEqual(['412.3', '0.04172', '12,380', '7', '—'])
  })
  it('show units as people write them, unknown codes as they came', () => {
    expect([sign('KPA'), sign('GQ'), sign('XYZ'), sign(null)]).toEqual(['kPa', 'µg/m³', 'XYZ', ''])
  })
  it('move only forward in time', () => {
    const latest = new Latest()
    let woken = 0
    latest.watch('urn:a', () => (woken += 1))
    const put = (value: number, observed_at: string): void =>
      latest.apply({ entity: ['urn:a'], attribute: ['p'], value: [value], unit: ['KPA'], observed_at: [observed_at], quality: [[]] })
    put(2, '2026-11-22T10:00:05Z')
    put(1, '2026-11-22T10:00:04.5Z')
    expect(latest.of('urn:a')?.get('p')?.value).toBe(2)
    expect(woken).toBe(2)
  })
  it('wake a watcher once per message, and not after it stopped', () => {
    const latest = new Latest()
    let woken = 0
    const stop = latest.watch('urn:a', () => (woken += 1))
    const columns = { entity: ['urn:a', 'urn:a', 'urn:b'], attribute: ['p', 'q', 'p'], value: [1, 2, 3], unit: [null, null, null], observed_at: [null, null, null], quality: [] }
    latest.apply(columns)
    stop()
    latest.apply(columns)
    expect(woken).toBe(1)
  })
  it('are asked for only where somebody looks', () => {
    const latest = new Latest()
    const asked: string[][] = []
    latest.onWatched = () => asked.push(latest.watched)
    const stops = ['urn:a', 'urn:a', 'urn:b'].map((one) => latest.watch(one, () => undefined))
    stops.forEach((stop) => stop())
    stops.forEach((stop) => stop())
    expect(asked).toEqual([['urn:a'], ['urn:a', 'urn:b'], ['urn:b'], []])
  })
  it('are appended to a trend only when newer', () => {
    const series: Series = { at: [10], value: [1], unit: null }
    expect([append(series, 10, 2), append(series, 11, 3)]).toEqual([false, true])
    expect(series.value).toEqual([1, 3])
  })
})

describe('what is told of an incident', () => {
  const told = (entries: number) => ({ timeline: Array.from({ length: entries }, () => ({ at: '', who: '', kind: 'step_done' })) }) as never
  it('is older with fewer entries, and not where it is as long or says nothing of them', () => {
    expect([isOlder(told(2), told(3)), isOlder(told(3), told(3)), isOlder(told(4), told(3)), isOlder({}, told(3))]).toEqual([true, false, false, false])
  })
})

describe('a field that cannot be sent', () => {
  const none = { valueMissing: false, badInput: false, rangeUnderflow: false, rangeOverflow: false, stepMismatch: false }
  const said = (what: object): unknown => fault({ ...none, ...what } as ValidityState, '21.8', '23.8')
  it('says what it lacks in the words of the console, not of the browser', () => {
    expect(said({ rangeOverflow: true })).toEqual(['invalid.high', { max: '23.8' }])
    expect(said({ rangeUnderflow: true })).toEqual(['invalid.low', { min: '21.8' }])
    expect(said({ valueMissing: true })).toEqual(['invalid.missing', {}])
    expect(said({ badInput: true })).toEqual(['invalid.number', {}])
    expect(said({ stepMismatch: true })).toEqual(['invalid.whole', {}])
    expect(said({ tooLong: true })).toEqual(['invalid.other', {}])
  })
})
