// Message formatting: `{name}` and the plural part of ICU, `{n, plural, one {# alarm} other {# alarms}}`.
// Used by the i18n store; a whole ICU library would weigh more than the console's own texts.

export type Values = Record<string, string | number>

const PLURAL = /\{(\w+), plural,((?:\s*\w+ \{[^{}]*\})+)\s*\}/g
const BRANCH = /(\w+) \{([^{}]*)\}/g

export function format(message: string, values: Values, plural: Intl.PluralRules, number: Intl.NumberFormat): string {
  const shown = (value: string | number | undefined, name: string): string =>
    value === undefined ? `{${name}}` : typeof value === 'number' ? number.format(value) : value
  return message
    .replace(PLURAL, (_all, name: string, branches: string) => {
      const count = Number(values[name] ?? 0)
      const parts = new Map([...branches.matchAll(BRANCH)].map((part) => [part[1], part[2] ?? '']))
      return (parts.get(plural.select(count)) ?? parts.get('other') ?? '').replaceAll('#', number.format(count))
    })
    .replace(/\{(\w+)\}/g, (_all, name: string) => shown(values[name], name))
}
