// Facilities as small dots: positions on the Mercator square and a colour per domain, kept as columns for both renderers.
import type { Domain, Facilities, LonLat } from '../lib/shapes'
import { mercX, mercY, worldPx, type View } from './mercator'
import type { Stops } from './draw'

/** Eight domain hues, none of them a severity's. */
export const HUES = ['#4CC2FF', '#5CD6A9', '#C9A0FF', '#FF8FB1', '#4E8CFF', '#9FB3C8', '#E6C35C', '#7FE0E8'] as const
export const hue = (domain: Domain | undefined): string => HUES[(domain?.colour ?? 5) % HUES.length] ?? HUES[5]

/** Radius of a dot: small at city scale so that the map stays readable. */
export const RADIUS: Stops = [[9, 0.6], [11, 0.9], [13, 1.3], [14, 2], [15, 3.2], [17, 6]]
export const OPACITY: Stops = [[12, 0.6], [14, 0.9]]

export class Dots {
  private constructor(
    readonly rows: Uint32Array,
    readonly x: Float64Array,
    readonly y: Float64Array,
    readonly at: LonLat[],
    readonly colour: string[],
  ) {}

  static readonly NONE = new Dots(new Uint32Array(), new Float64Array(), new Float64Array(), [], [])

  /** Rows that have a place and whose domain is not hidden. */
  static of(facilities: Facilities, domains: Domain[], hidden: ReadonlySet<string>): Dots {
    const hues = new Map(domains.map((domain) => [domain.id, hue(domain)]))
    const rows: number[] = []
    const at: LonLat[] = []
    facilities.id.forEach((_id, row) => {
      const lon = facilities.lon[row]
      const lat = facilities.lat[row]
      if (typeof lon !== 'number' || typeof lat !== 'number' || hidden.has(facilities.domain[row] ?? '')) return
      rows.push(row)
      at.push([lon, lat])
    })
    return new Dots(
      Uint32Array.from(rows),
      Float64Array.from(at, ([lon]) => mercX(lon)),
      Float64Array.from(at, ([, lat]) => mercY(lat)),
      at,
      rows.map((row) => hues.get(facilities.domain[row] ?? '') ?? HUES[5]),
    )
  }

  /** Row of the nearest dot within `radius_px` of a pixel offset from the view's centre; -1 for none. */
  pick(view: View, dx: number, dy: number, radius_px: number): number {
    const px = worldPx(view.zoom)
    const [cx, cy] = [mercX(view.centre[0]) + dx / px, mercY(view.centre[1]) + dy / px]
    let best = -1
    let nearest = (radius_px / px) ** 2
    for (let i = 0; i < this.rows.length; i++) {
      const [ex, ey] = [(this.x[i] ?? 0) - cx, (this.y[i] ?? 0) - cy]
      const distance = ex * ex + ey * ey
      if (distance < nearest) [nearest, best] = [distance, this.rows[i] ?? -1]
    }
    return best
  }
}
