// UN/CEFACT common codes (Recommendation 20) as people write them, the same as in the platform's core/units.py; a code we
// do not know is shown as it came.

const SIGNS: Record<string, string> = {
  C62: '', P1: '%', '59': 'ppm', '61': 'ppb', PAL: 'Pa', A97: 'hPa', MBR: 'mbar', KPA: 'kPa', MPA: 'MPa', BAR: 'bar',
  ATM: 'atm', N23: 'mH₂O', PS: 'psi', MTR: 'm', CMT: 'cm', MMT: 'mm', KMT: 'km', MTK: 'm²', KMK: 'km²', MTQ: 'm³', LTR: 'L',
  MLT: 'mL', MQS: 'm³/s', MQH: 'm³/h', G52: 'm³/d', G51: 'L/s', L2: 'L/min', E32: 'L/h', LD: 'L/d', KEL: 'K', CEL: '°C',
  FAH: '°F', JOU: 'J', KJO: 'kJ', WHR: 'Wh', KWH: 'kWh', MWH: 'MWh', WTT: 'W', KWT: 'kW', MAW: 'MW', D46: 'VA', KVA: 'kVA',
  MVA: 'MVA', D44: 'var', KVR: 'kvar', MAR: 'Mvar', VLT: 'V', KVT: 'kV', AMP: 'A', '4K': 'mA', B22: 'kA', HTZ: 'Hz', RPS: 'r/s',
  RPM: 'r/min', KGM: 'kg', GRM: 'g', TNE: 't', KGS: 'kg/s', E93: 'kg/h', F29: 'g/s', F27: 'g/h', F30: 'kg/d', KMQ: 'kg/m³',
  A93: 'g/m³', M1: 'mg/L', GP: 'mg/m³', GQ: 'µg/m³', MTS: 'm/s', KMH: 'km/h', KNT: 'kn', H67: 'mm/h', C81: 'rad', DD: '°',
  SEC: 's', C26: 'ms', MIN: 'min', HUR: 'h', DAY: 'd', D10: 'S/m', H61: 'mS/cm', G42: 'µS/cm', D54: 'W/m²', LUX: 'lx',
  '2N': 'dB', Q30: 'pH', AD: 'B', '4L': 'MB', E34: 'GB', NTU: 'NTU',
}

export const sign = (code: string | null | undefined): string => (code ? (SIGNS[code] ?? code) : '')

/** Up to four significant digits, no exponent: 412.3, 0.0417, 12 380. */
export function amount(value: unknown, number: (digits: number) => Intl.NumberFormat): string {
  if (typeof value !== 'number') return value === null || value === undefined ? '—' : String(value)
  const size = Math.abs(value)
  const digits = size === 0 || size >= 1000 ? 0 : Math.min(6, Math.max(0, 3 - Math.floor(Math.log10(size))))
  return number(Number.isInteger(value) ? 0 : digits).format(value)
}
