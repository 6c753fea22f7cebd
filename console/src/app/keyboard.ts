// What each key does where. `lib/keys.ts` says which key was meant; this only routes it to a store.
import { command } from '../lib/keys'
import { board } from '../stores/board.svelte'
import { alarms } from '../stores/alarms.svelte'
import { desk } from '../stores/desk.svelte'
import { router } from '../stores/route.svelte'

type Act = () => unknown

const SELECT = (): void => {
  if (alarms.selectedId === null) board.move(1)
  board.flyToSelected()
}

const ALARMS: Record<string, Act> = {
  j: () => board.move(1),
  k: () => board.move(-1),
  Enter: SELECT,
  a: () => board.acknowledge(),
  s: () => board.shelve(),
  i: () => board.incident(),
  f: () => board.flyToSelected(),
  ArrowRight: () => board.toggleGroup(true),
  ArrowLeft: () => board.toggleGroup(false),
  Escape: () => board.clear(),
}

const INCIDENT: Record<string, Act> = {
  j: () => desk.move(1),
  k: () => desk.move(-1),
  Space: () => desk.tickCursor(),
  n: () => desk.ask('note'),
  m: () => desk.ask('assign'),
  g: () => desk.advance(),
  x: () => desk.ask('close'),
  v: () => desk.set(),
  Escape: () => desk.back(),
  ...Object.fromEntries(Array.from({ length: 9 }, (_, i) => [String(i + 1), () => desk.tickNumber(i + 1)])),
}

const ASSET: Record<string, Act> = {
  v: () => document.querySelector<HTMLElement>('[data-testid="setpoint-ask"]')?.focus(),
}

const EVERYWHERE: Record<string, Act> = {
  '/': () => document.getElementById('search')?.focus(),
  '?': () => (board.dialog = { kind: 'help' }),
}

function actOf(key: string): Act | undefined {
  const { name, id } = router.now
  if (name === 'ops' || name === 'alarms') return ALARMS[key] ?? EVERYWHERE[key]
  if (name === 'incidents' && id !== null) return INCIDENT[key] ?? EVERYWHERE[key]
  if (name === 'assets' && id !== null) return ASSET[key] ?? EVERYWHERE[key]
  return EVERYWHERE[key]
}

// The map pans with the arrow keys while it has the focus.
const onMap = (event: KeyboardEvent): boolean =>
  event.key.startsWith('Arrow') && event.target instanceof HTMLCanvasElement

/** Listens until the returned function is called. A dialog keeps all keys to itself. */
export function listenToKeys(): () => void {
  const press = (event: KeyboardEvent): void => {
    if (board.dialog || event.defaultPrevented || onMap(event)) return
    const key = command(event)
    const act = key === null ? undefined : actOf(key)
    if (!act || (event.repeat && key !== 'j' && key !== 'k')) return
    event.preventDefault()
    void act()
  }
  addEventListener('keydown', press)
  return () => removeEventListener('keydown', press)
}
