// The platform says in English why a command went as it did; the sentences it makes itself are told in the operator's language.
// What a device says in its own words stays as it came.
import { i18n, t, type Key } from './i18n.svelte'

const SENTENCES: [RegExp, Key, string?][] = [
  [/^nothing was sent: (.+)$/s, 'why.nothing_sent', 'what'],
  [/^(\S+) is not connected$/, 'why.not_connected', 'device'],
  [/^(\S+) does not listen on \S+$/, 'why.not_listening', 'device'],
  [/^(\S+) has not acknowledged what was sent before$/, 'why.busy', 'device'],
  [/^published on (.+)$/, 'why.published', 'what'],
  [/^delivered: /, 'why.delivered'],
  [/^the device answered that it is done$/, 'why.done'],
  [/^the device answered: (.+)$/s, 'why.answered', 'what'],
  [/^the device shows the value$/, 'why.shown'],
  [/^acknowledged; then the device held (.+)$/, 'why.acknowledged', 'value'],
  [/^(.+) was read back; the adapter's answer was lost$/, 'why.read_back', 'value'],
  [/^(.+) was read back$/, 'why.read_back', 'value'],
  [/^(.+) was written back$/, 'why.written_back', 'value'],
  [/^(.+) could not be written back: (.+)$/s, 'why.not_written_back', 'value'],
  [/^not read back in time; last value ([^;]+); (.+) is being written back$/, 'why.late_undoing', 'value'],
  [/^not read back in time; last value (.+)$/, 'why.late', 'value'],
  [/^no value came back in time/, 'why.silent'],
  [/^nobody answered for the device/, 'why.nobody'],
  [/^the connection broke before the device acknowledged/, 'why.broke'],
  [/^nobody confirmed that the value before was written back$/, 'why.undo_unsure'],
]

const number = (text: string): string => (text.trim() && Number.isFinite(Number(text)) ? i18n.amount(Number(text)) : text)

export function reason(why: string): string {
  for (const [pattern, key, name] of SENTENCES) {
    const found = pattern.exec(why)
    if (found) return t(key, name ? { [name]: name === 'value' ? number(found[1] ?? '') : reason(found[1] ?? '') } : {})
  }
  return why
}
