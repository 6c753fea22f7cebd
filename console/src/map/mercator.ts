// Web Mercator on the unit square, and pixels of a view. Both renderers and the overlay share it.
import type { LonLat } from '../lib/shapes'

export interface View {
  centre: LonLat
  zoom: number
}

const TILE = 512

export const mercX = (lon: number): number => lon / 360 + 0.5
export const mercY = (lat: number): number => (1 - Math.log(Math.tan(Math.PI / 4 + (lat * Math.PI) / 360)) / Math.PI) / 2
export const lonOf = (x: number): number => (x - 0.5) * 360
export const latOf = (y: number): number => (Math.atan(Math.exp((1 - 2 * y) * Math.PI)) * 360) / Math.PI - 90

/** Pixels per unit square at that zoom (512 px tiles, as MapLibre counts). */
export const worldPx = (zoom: number): number => TILE * 2 ** zoom

export const metresPerPx = (view: View): number =>
  (40_075_016.686 * Math.cos((view.centre[1] * Math.PI) / 180)) / worldPx(view.zoom)

/** The view that shows the whole frame with a margin, in a canvas of that size. */
export function fit(frame: { west: number; south: number; east: number; north: number }, width: number, height: number): View {
  const [x0, x1, y0, y1] = [mercX(frame.west), mercX(frame.east), mercY(frame.north), mercY(frame.south)]
  const zoom = Math.log2(Math.min((width * 0.94) / (x1 - x0), (height * 0.94) / (y1 - y0)) / TILE)
  return { centre: [lonOf((x0 + x1) / 2), latOf((y0 + y1) / 2)], zoom: Math.min(16, Math.max(2, zoom)) }
}

/** A round length of at most `limit_px` pixels: for the scale bar. */
export function scaleBar(view: View, limit_px: number): { metres: number; px: number } {
  const limit = metresPerPx(view) * limit_px
  const power = 10 ** Math.floor(Math.log10(limit))
  const metres = power * ([5, 2, 1].find((step) => step * power <= limit) ?? 1)
  return { metres, px: metres / metresPerPx(view) }
}
