// Instants on screen: always ISO with a 24 h clock, in the city's time zone; ages in words of the current language.

const FORMATS = new Map<string, Intl.DateTimeFormat>()

function parts(at: Date, zone: string): Record<string, string> {
  let format = FORMATS.get(zone)
  if (!format) {
    format = new Intl.DateTimeFormat('en-GB', {
      timeZone: zone,
      year: 'numeric',
      month: '2-digit',
      day: '2-digit',
      hour: '2-digit',
      minute: '2-digit',
      second: '2-digit',
      hourCycle: 'h23',
    })
    FORMATS.set(zone, format)
  }
  return Object.fromEntries(format.formatToParts(at).map((part) => [part.type, part.value]))
}

/** `2026-11-23 02:31:17` in that time zone. */
export function isoLocal(at: Date, zone: string): string {
  const p = parts(at, zone)
  return `${p.year}-${p.month}-${p.day} ${p.hour}:${p.minute}:${p.second}`
}

/** `02:31:17` in that time zone, with the date in front when it is not the same day as `now`. */
export function clockLocal(at: Date, zone: string, now: Date): string {
  const whole = isoLocal(at, zone)
  return whole.slice(0, 10) === isoLocal(now, zone).slice(0, 10) ? whole.slice(11) : whole.slice(5, 16)
}

const STEPS: [Intl.RelativeTimeFormatUnit, number][] = [
  ['day', 86400],
  ['hour', 3600],
  ['minute', 60],
]

/** `3 min. ago` in the format's language; under a minute in seconds. */
export function ago(seconds: number, format: Intl.RelativeTimeFormat): string {
  for (const [unit, size] of STEPS) if (seconds >= size) return format.format(-Math.floor(seconds / size), unit)
  return format.format(-Math.max(0, Math.floor(seconds)), 'second')
}

/** A value is stale after twice its expected period; without a period after five minutes. */
export function isStale(age_s: number, period_s: number | null | undefined): boolean {
  return age_s > (period_s && period_s > 0 ? 2 * period_s : 300)
}
