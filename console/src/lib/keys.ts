// Which key an operator meant. Letters count by their place when a Korean or Chinese input method is on,
// and nothing counts while a word is being composed or a field is being filled in.

interface KeyPress {
  key: string
  code: string
  isComposing: boolean
  ctrlKey: boolean
  altKey: boolean
  metaKey: boolean
  target: unknown
}

interface Target {
  tagName?: string
  type?: string
  isContentEditable?: boolean
}

const TYPED_IN = new Set(['INPUT', 'TEXTAREA', 'SELECT'])
const NOT_TYPED_IN = new Set(['checkbox', 'radio', 'button', 'submit'])
const PRESSED = new Set(['BUTTON', 'A', 'SUMMARY', 'INPUT'])

function typing(target: Target | null): boolean {
  if (!target) return false
  if (target.isContentEditable) return true
  return TYPED_IN.has(target.tagName ?? '') && !NOT_TYPED_IN.has(target.type ?? '')
}

/** `j`, `1`, `/`, `?`, `Enter`, `Space`, `Escape`, `ArrowDown` …; null when the key is not ours to take. */
export function command(event: KeyPress): string | null {
  if (event.isComposing || event.ctrlKey || event.altKey || event.metaKey) return null
  const target = event.target as Target | null
  if (event.key === 'Escape') return 'Escape'
  if (typing(target)) return null
  const space = event.key === ' '
  if ((space || event.key === 'Enter') && PRESSED.has(target?.tagName ?? '')) return null
  if (space) return 'Space'
  if (/^[a-z]$/i.test(event.key)) return event.key.toLowerCase()
  const letter = /^Key([A-Z])$/.exec(event.code)?.[1]
  if (letter && event.key.length !== 0 && !/^[\x20-\x7e]$/.test(event.key)) return letter.toLowerCase()
  if (event.key === 'Process' && event.code.startsWith('Digit')) return event.code.slice(5)
  return event.key
}
