// Alarms that would cover each other become one marker with a count; the most urgent one stands for them.
import type { Alarm, LonLat } from '../lib/shapes'

export interface Marker {
  alarm: Alarm
  x: number
  y: number
  count: number
  /** Ids of all alarms under this marker. */
  ids: string[]
}

/** `alarms` most urgent first; markers nearer than `apart_px` are joined; those outside the canvas are left out. */
export function cluster(
  alarms: readonly Alarm[],
  project: (at: LonLat) => [number, number],
  size: { width: number; height: number },
  apart_px = 30,
): Marker[] {
  const cells = new Map<number, Marker>()
  const markers: Marker[] = []
  const margin = 40
  for (const alarm of alarms) {
    if (!alarm.location) continue
    const [x, y] = project(alarm.location)
    if (x < -margin || y < -margin || x > size.width + margin || y > size.height + margin) continue
    const near = nearby(cells, x, y, apart_px)
    if (near) {
      near.count += 1
      near.ids.push(alarm.id)
      continue
    }
    const marker = { alarm, x, y, count: 1, ids: [alarm.id] }
    cells.set(cellOf(x, y, apart_px), marker)
    markers.push(marker)
  }
  return markers
}

// A cell's diagonal is the distance kept, so a cell holds one marker at most and the 5 x 5 cells around hold all that are near.
const cellOf = (x: number, y: number, apart_px: number, i = 0, j = 0): number =>
  (Math.floor((x * Math.SQRT2) / apart_px) + i + 16) * 65_536 + Math.floor((y * Math.SQRT2) / apart_px) + j + 16

function nearby(cells: Map<number, Marker>, x: number, y: number, apart_px: number): Marker | undefined {
  for (let i = -2; i <= 2; i++)
    for (let j = -2; j <= 2; j++) {
      const marker = cells.get(cellOf(x, y, apart_px, i, j))
      if (marker && Math.hypot(marker.x - x, marker.y - y) < apart_px) return marker
    }
  return undefined
}
