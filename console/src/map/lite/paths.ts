// Base map features as Path2D around a local origin: single precision is enough to street level that way.
import { lines, type Feature } from '../base'
import type { Drawn } from '../draw'
import { mercX, mercY } from '../mercator'

/** Path units per Mercator unit: 1 unit is about a pixel at zoom 11. */
export const UNITS = 2 ** 20

export interface Shape {
  path: Path2D
  west: number
  north: number
  east: number
  south: number
}

function shapeOf(features: Feature[], originX: number, originY: number): Shape {
  const shape: Shape = { path: new Path2D(), west: Infinity, north: Infinity, east: -Infinity, south: -Infinity }
  for (const feature of features)
    for (const line of lines(feature.geometry)) {
      line.forEach(([lon, lat], i) => {
        const [x, y] = [(mercX(lon) - originX) * UNITS, (mercY(lat) - originY) * UNITS]
        if (i) shape.path.lineTo(x, y)
        else shape.path.moveTo(x, y)
        shape.west = Math.min(shape.west, x)
        shape.east = Math.max(shape.east, x)
        shape.north = Math.min(shape.north, y)
        shape.south = Math.max(shape.south, y)
      })
    }
  return shape
}

/** Chunks of neighbouring features, so that a close view skips most of the city. */
export function shapes(drawn: Drawn, originX: number, originY: number, chunk = 200): Shape[] {
  const made: Shape[] = []
  const cells = new Map<string, Feature[]>()
  for (const feature of drawn.features) {
    const [lon = 0, lat = 0] = lines(feature.geometry)[0]?.[0] ?? []
    const key = `${Math.floor(lon * 50)}/${Math.floor(lat * 50)}`
    const cell = cells.get(key)
    if (cell) cell.push(feature)
    else cells.set(key, [feature])
  }
  let batch: Feature[] = []
  const flush = (): void => {
    if (batch.length) made.push(shapeOf(batch, originX, originY))
    batch = []
  }
  for (const cell of cells.values()) {
    batch.push(...cell)
    if (batch.length >= chunk) flush()
  }
  flush()
  return made
}
