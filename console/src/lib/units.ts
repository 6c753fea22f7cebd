// UN/CEFACT common codes (Recommendation 20) as people write them; a code we do not know is shown as it came.

const SIGNS: Record<string, string> = {
  KPA: 'kPa', BAR: 'bar', PAL: 'Pa', A97: 'hPa', MBR: 'mbar', CEL: '°C', KEL: 'K', P1: '%', C62: '',
  MTR: 'm', CMT: 'cm', MMT: 'mm', KMT: 'km', MTS: 'm/s', KMH: 'km/h', MTQ: 'm³', LTR: 'L', MQH: 'm³/h', MQS: 'm³/s',
  L2: 'L/min', G51: 'L/s', GQ: 'µg/m³', GP: 'mg/m³', M1: 'mg/L', '59': 'ppm', '61': 'ppb', KWT: 'kW', WTT: 'W',
  KWH: 'kWh', AMP: 'A', VLT: 'V', HTZ: 'Hz', DD: '°', SEC: 's', MIN: 'min', HUR: 'h', D54: 'W/m²', H67: 'mm/h',
  Q30: 'pH', MPA: 'MPa', '2N': 'dB', KGM: 'kg', GRM: 'g', E32: 'L/h', RPM: 'rpm',
}

export const sign = (code: string | null | undefined): string => (code ? (SIGNS[code] ?? code) : '')

/** Up to four significant digits, no exponent: 412.3, 0.0417, 12 380. */
export function amount(value: unknown, number: (digits: number) => Intl.NumberFormat): string {
  if (typeof value !== 'number') return value === null || value === undefined ? '—' : String(value)
  const size = Math.abs(value)
  const digits = size === 0 || size >= 1000 ? 0 : Math.min(6, Math.max(0, 3 - Math.floor(Math.log10(size))))
  return number(Number.isInteger(value) ? 0 : digits).format(value)
}
