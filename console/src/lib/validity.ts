// What a field lacks, in the console's language: the browser's own words are in the language of the browser.

import type { Values } from './message'

type Field = HTMLInputElement | HTMLSelectElement | HTMLTextAreaElement
type Fault = 'invalid.missing' | 'invalid.number' | 'invalid.low' | 'invalid.high' | 'invalid.whole' | 'invalid.other'
type Translate = (key: Fault, values?: Values) => string

/** Which text says what is wrong, with its values. */
export function fault(validity: ValidityState, min: string, max: string): [Fault, Values] {
  if (validity.valueMissing) return ['invalid.missing', {}]
  if (validity.badInput) return ['invalid.number', {}]
  if (validity.rangeUnderflow) return ['invalid.low', { min }]
  if (validity.rangeOverflow) return ['invalid.high', { max }]
  if (validity.stepMismatch) return ['invalid.whole', {}]
  return ['invalid.other', {}]
}

/** For a form: every field in it says what it lacks in the words of `t`, until it is changed. */
export function worded(form: HTMLFormElement, t: Translate): { destroy: () => void } {
  const say = (event: Event): void => {
    const field = event.target as Field
    field.setCustomValidity('')
    const { min = '', max = '' } = field instanceof HTMLInputElement ? field : {}
    field.setCustomValidity(t(...fault(field.validity, min, max)))
  }
  const forget = (event: Event): void => (event.target as Field).setCustomValidity?.('')
  form.addEventListener('invalid', say, true)
  form.addEventListener('input', forget, true)
  form.addEventListener('change', forget, true)
  return {
    destroy: () => {
      form.removeEventListener('invalid', say, true)
      form.removeEventListener('input', forget, true)
      form.removeEventListener('change', forget, true)
    },
  }
}
