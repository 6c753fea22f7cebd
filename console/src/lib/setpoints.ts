// Words and order around setpoints: allowed values, distance, the path of a command. Pure.
import type { Command, CommandState, CommandStep, LonLat, Setpoint, Settable } from './shapes'

export const PATH: readonly CommandState[] = ['requested', 'sent', 'confirmed', 'verified']
export const BAD: ReadonlySet<CommandState> = new Set(['failed', 'undone'])

/** One mark on the way of a command; `at` is null while it has not come so far. */
export interface Mark {
  state: CommandState
  step: CommandStep | null
}

/** Where a command has been, then where it would still go; after it ended only where it has been. */
export function marks(command: Pick<Command, 'steps' | 'open' | 'state'>): Mark[] {
  const been: Mark[] = []
  for (const step of command.steps) {
    const last = been.at(-1)
    if (last?.state === step.state) last.step = step
    else been.push({ state: step.state, step })
  }
  if (!command.open || BAD.has(command.state)) return been
  const to_come = PATH.slice(PATH.indexOf(command.state) + 1)
  return [...been, ...to_come.map((state) => ({ state, step: null }))]
}

/** What was typed as a value of the setpoint; null when it is none. */
export function typed(setpoint: Setpoint, text: string): Settable | null {
  if (setpoint.datatype === 'boolean') return text === 'true' ? true : text === 'false' ? false : null
  if (setpoint.datatype === 'text') return text.trim() ? text.trim() : null
  const value = Number(text)
  if (!text.trim() || !Number.isFinite(value)) return null
  if (setpoint.datatype === 'integer' && !Number.isInteger(value)) return null
  if ((setpoint.low !== null && value < setpoint.low) || (setpoint.high !== null && value > setpoint.high)) return null
  return value
}

/** Metres between two places, near enough for a list ordered by distance. */
export function metres(a: LonLat, b: LonLat): number {
  const east = (a[0] - b[0]) * Math.cos((a[1] * Math.PI) / 180)
  return Math.hypot(east, a[1] - b[1]) * 111_195
}

const CONTROL = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\ufffd]/

/** The first bytes of a message as text, or as hexadecimal where they are no text. */
export function preview(base64: string, most = 240): string {
  const bytes = Uint8Array.from(atob(base64), (one) => one.charCodeAt(0))
  const text = new TextDecoder().decode(bytes.slice(0, most * 3))
  const shown = CONTROL.test(text.slice(0, most).replace(/\ufffd$/, ''))
    ? [...bytes.slice(0, most / 3)].map((one) => one.toString(16).padStart(2, '0')).join(' ')
    : text.slice(0, most)
  return bytes.length > most ? `${shown} …` : shown
}
