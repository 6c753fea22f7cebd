// What a map renderer does. Two stand behind it: `gl/` (MapLibre, WebGL2) and `lite/` (Canvas 2D, no GPU needed).
// Markers, names and rings are the overlay's, one for both.
import type { LonLat } from '../lib/shapes'
import type { Drawn } from './draw'
import type { Dots } from './dots'
import type { View } from './mercator'

export type Renderer = 'gl' | 'lite'

export interface SurfaceOptions {
  container: HTMLElement
  view: View
  /** No animation: tests, and people who asked their system for less motion. */
  still: boolean
  label: string
  /** After each drawn frame: the overlay follows in the same task. */
  onDraw: () => void
  /** Once, when the first whole picture is on screen. */
  onReady: () => void
}

export interface Surface {
  readonly kind: Renderer
  setBase(drawn: Drawn[]): void
  setDots(dots: Dots): void
  view(): View
  /** Moves there: in at most 150 ms, at once when still. */
  flyTo(view: View): void
  zoomBy(steps: number): void
  project(at: LonLat): [number, number]
  resize(): void
  destroy(): void
}
