// One severity scale everywhere: a shape, a local character and a colour, never a digit (Korea counts up, China down).
import type { Alarm, AlarmState, Lang, Level } from './shapes'

export const LEVELS: readonly Level[] = ['serious', 'alert', 'caution', 'attention']
const RANK: Record<Level, number> = { serious: 4, alert: 3, caution: 2, attention: 1 }

export const COLOURS: Record<Level, string> = {
  serious: '#FF5A52',
  alert: '#FF9F2E',
  caution: '#FFD93D',
  attention: '#5AA9FF',
}

const CHARACTERS: Record<Lang, Record<Level, string>> = {
  ko: { serious: '심', alert: '경', caution: '주', attention: '관' },
  zh: { serious: '红', alert: '橙', caution: '黄', attention: '蓝' },
  en: { serious: 'R', alert: 'O', caution: 'Y', attention: 'B' },
}

// Outlines in a 32 x 32 box, and where the character sits: a triangle carries it lower.
export const SHAPES: Record<Level, { path: string; y: number; size: number }> = {
  serious: { path: 'M10.4 2.5h11.2l7.9 7.9v11.2l-7.9 7.9H10.4l-7.9-7.9V10.4z', y: 16.5, size: 16 },
  alert: { path: 'M16 1.2 31.4 29H.6z', y: 20.6, size: 15 },
  caution: { path: 'M16 .8 31.2 16 16 31.2.8 16z', y: 16.5, size: 15 },
  attention: { path: 'M16 2a14 14 0 1 1 0 28a14 14 0 1 1 0-28z', y: 16.5, size: 16 },
}

export const rank = (level: Level): number => RANK[level] ?? 0

export const character = (level: Level, lang: Lang): string => CHARACTERS[lang][level]

/** Filled while the condition stands, an outline once it has returned, grey when taken out of sight on purpose. */
export function look(state: AlarmState): 'filled' | 'outline' | 'grey' {
  if (state === 'returned_unacknowledged' || state === 'normal') return 'outline'
  if (state === 'shelved' || state === 'suppressed' || state === 'out_of_service') return 'grey'
  return 'filled'
}

export const waits = (state: AlarmState): boolean => state === 'unacknowledged' || state === 'returned_unacknowledged'

/** Unacknowledged first, then by level, then the newest: what to do next is on top. */
export function byUrgency(a: Alarm, b: Alarm): number {
  const waiting = Number(waits(b.state)) - Number(waits(a.state))
  if (waiting) return waiting
  const level = rank(b.level) - rank(a.level)
  if (level) return level
  if (a.raised_at !== b.raised_at) return a.raised_at < b.raised_at ? 1 : -1
  return a.id < b.id ? -1 : 1
}
