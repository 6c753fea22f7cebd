// Values as people write them, in the current language.
import type { Setpoint } from '../lib/shapes'
import { sign } from '../lib/units'
import { cityStore } from './city.svelte'
import { i18n, t } from './i18n.svelte'

export const shown = (value: unknown): string =>
  typeof value === 'boolean' ? t(value ? 'setpoint.on' : 'setpoint.off') : i18n.amount(value)

export const withUnit = (value: unknown, unit: string | null): string => `${shown(value)} ${sign(unit)}`.trim()

/** Which values a setpoint takes. */
export function range(one: Setpoint): string {
  if (one.datatype === 'boolean') return `${t('setpoint.on')} / ${t('setpoint.off')}`
  if (one.datatype === 'text') return t('setpoint.text')
  const unit = sign(one.unit)
  const low = one.low === null ? '' : i18n.amount(one.low)
  const high = one.high === null ? '' : i18n.amount(one.high)
  if (!low && !high) return unit
  if (!high) return t('setpoint.from', { low, unit }).trim()
  if (!low) return t('setpoint.up_to', { high, unit }).trim()
  return t('setpoint.range', { low, high, unit }).trim()
}

/** The attribute of an entity by its type in the URN. */
export const attributeOf = (entity: string, attribute: string): string =>
  cityStore.attributeName(entity.split(':')[2] ?? '', attribute)
