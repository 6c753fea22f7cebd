// Drag, wheel, pinch and arrow keys on an element, as pan and zoom. Used by the Canvas 2D surface.

export interface Gestures {
  pan(dx: number, dy: number): void
  /** Zoom by steps with the pixel (x, y) kept in place. */
  zoom(steps: number, x: number, y: number): void
}

const PAN_PX = 80
const KEYS: Record<string, [number, number]> = {
  ArrowLeft: [PAN_PX, 0],
  ArrowRight: [-PAN_PX, 0],
  ArrowUp: [0, PAN_PX],
  ArrowDown: [0, -PAN_PX],
}

/** Returns what stops listening. */
export function listen(element: HTMLElement, to: Gestures): () => void {
  const ends = new AbortController()
  const on = <K extends keyof HTMLElementEventMap>(name: K, then: (event: HTMLElementEventMap[K]) => void): void =>
    element.addEventListener(name, then, { signal: ends.signal, passive: false })
  const touches = new Map<number, [number, number]>()
  const where = (event: MouseEvent): [number, number] => {
    const box = element.getBoundingClientRect()
    return [event.clientX - box.left, event.clientY - box.top]
  }
  on('pointerdown', (event) => {
    if (event.button !== 0) return
    touches.set(event.pointerId, where(event))
    element.setPointerCapture(event.pointerId)
  })
  on('pointermove', (event) => {
    const before = touches.get(event.pointerId)
    if (!before) return
    const now = where(event)
    const other = [...touches].find(([id]) => id !== event.pointerId)?.[1]
    touches.set(event.pointerId, now)
    if (!other) return to.pan(now[0] - before[0], now[1] - before[1])
    const spread = (p: [number, number]): number => Math.hypot(p[0] - other[0], p[1] - other[1])
    to.zoom(Math.log2(spread(now) / spread(before)), (now[0] + other[0]) / 2, (now[1] + other[1]) / 2)
  })
  for (const end of ['pointerup', 'pointercancel'] as const) on(end, (event) => touches.delete(event.pointerId))
  on('wheel', (event) => {
    event.preventDefault()
    const lines = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 20 : 1
    to.zoom(-Math.max(-1, Math.min(1, (event.deltaY * lines) / 240)), ...where(event))
  })
  on('dblclick', (event) => to.zoom(1, ...where(event)))
  on('keydown', (event) => {
    const step = KEYS[event.key]
    const zoom = event.key === '+' || event.key === '=' ? 1 : event.key === '-' ? -1 : 0
    if (step) to.pan(...step)
    else if (zoom) to.zoom(zoom, element.clientWidth / 2, element.clientHeight / 2)
    else return
    event.preventDefault()
  })
  return () => ends.abort()
}
