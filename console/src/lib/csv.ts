// A table as CSV (RFC 4180) with a byte order mark, so that spreadsheets read Korean and Chinese as UTF-8.

const FORMULA = /^[=+\-@\t\r]/

function cell(value: unknown): string {
  const text = value === null || value === undefined ? '' : String(value)
  // A text that a spreadsheet would run as a formula is kept a text.
  const safe = typeof value === 'string' && FORMULA.test(text) ? `'${text}` : text
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe
}

export const csv = (rows: readonly (readonly unknown[])[]): string =>
  '\uFEFF' + rows.map((row) => row.map(cell).join(',')).join('\r\n') + '\r\n'
