import { describe, expect, it } from 'vitest'
import { format } from '../src/lib/message'
import { CAUSES, PHASES } from '../src/lib/phases'
import { LEVELS } from '../src/lib/severity'
import en from '../src/locales/en.json'
import ko from '../src/locales/ko.json'
import zh from '../src/locales/zh.json'

const LOCALES: Record<string, Record<string, string>> = { ko, zh, en }
const SOURCES = Object.values(
  import.meta.glob<string>('../src/**/*.{svelte,ts}', { query: '?raw', import: 'default', eager: true }),
)
const names = (message: string): string[] => [...new Set([...message.matchAll(/\{(\w+)[,}]/g)].map((one) => one[1] ?? ''))].sort()

describe('texts in three languages', () => {
  it.each(['ko', 'zh'])('%s has exactly the keys of English', (lang) => {
    expect(Object.keys(LOCALES[lang] ?? {}).sort()).toEqual(Object.keys(en).sort())
  })
  it.each(Object.keys(LOCALES))('%s leaves no text empty', (lang) => {
    expect(Object.entries(LOCALES[lang] ?? {}).filter(([, text]) => !text.trim())).toEqual([])
  })
  it.each(Object.keys(en))('%s uses the same values in each language', (key) => {
    for (const texts of Object.values(LOCALES)) expect(names(texts[key] ?? '')).toEqual(names(en[key as keyof typeof en]))
  })
  it('has every key the source asks for by name', () => {
    const asked = SOURCES.flatMap((text) => [...text.matchAll(/\bt\('([\w.]+)'/g)].map((one) => one[1] ?? ''))
    expect(asked.length).toBeGreaterThan(80)
    expect([...new Set(asked)].filter((key) => !(key in en))).toEqual([])
  })
  it('has a word for each level, phase, cause, state and link state', () => {
    const states = ['unacknowledged', 'acknowledged', 'returned_unacknowledged', 'normal', 'shelved', 'suppressed', 'out_of_service']
    const wanted = [
      ...LEVELS.map((one) => `level.${one}`),
      ...PHASES.map((one) => `phase.${one}`),
      ...CAUSES.map((one) => `cause.${one}`),
      ...states.map((one) => `state.${one}`),
      ...['live', 'connecting', 'lost'].map((one) => `link.${one}`),
    ]
    expect(wanted.filter((key) => !(key in en))).toEqual([])
  })
  it('keeps texts that are asked for by a made key, and no others that nobody asks for', () => {
    const all = SOURCES.join('\n')
    const made = /^(level|state|phase|cause|event|quality|health|role|error|column|tab|rail|link|account|incident\.(tab|column)|shelve\.for_\d+|help|done|command|process|figure|reason)/
    expect(Object.keys(en).filter((key) => !made.test(key) && !all.includes(`'${key}'`))).toEqual([])
  })
})

describe('message formatting', () => {
  const say = (message: string, values: Record<string, string | number>): string =>
    format(message, values, new Intl.PluralRules('en'), new Intl.NumberFormat('en'))
  it('puts values in their places and groups digits', () => {
    expect(say('{who} has {n}', { who: 'kim', n: 12_345 })).toBe('kim has 12,345')
  })
  it('chooses the plural of the language', () => {
    const message = 'You have {n, plural, one {# alarm} other {# alarms}}.'
    expect(say(message, { n: 1 })).toBe('You have 1 alarm.')
    expect(say(message, { n: 2 })).toBe('You have 2 alarms.')
  })
  it('shows a missing value by its name instead of hiding it', () => {
    expect(say('since {at}', {})).toBe('since {at}')
  })
})
