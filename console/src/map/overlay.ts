// What lies over either renderer: names, cameras, alarm markers, pulse and selection. Its own canvas, its own pace.
import type { Alarm, Camera, Lang, LonLat } from '../lib/shapes'
import { COLOURS } from '../lib/severity'
import { cluster, type Marker } from './cluster'
import { fontOf, sideOf, Sprites } from './sprites'

export interface Label {
  at: LonLat
  text: string
}

export interface Scene {
  lang: Lang
  alarms: readonly Alarm[]
  selected: string | null
  cameras: readonly Camera[]
  places: readonly Label[]
  /** Facility names for the present view; empty when zoomed out. */
  names: readonly Label[]
}

interface Box {
  x0: number
  y0: number
  x1: number
  y1: number
}

interface Placed {
  text: string
  font: string
  x: number
  y: number
}

const PULSE_MS = 1000
const PULSE_FRAME_MS = 66
// In a flood only the most urgent markers move: a screen where everything blinks says nothing, and costs much.
const PULSES_MOST = 40

export class Overlay {
  #g: CanvasRenderingContext2D
  #sprites = new Sprites()
  #scene: Scene = { lang: 'ko', alarms: [], selected: null, cameras: [], places: [], names: [] }
  #timer: ReturnType<typeof setInterval> | null = null
  #placed: Placed[] = []
  markers: Marker[] = []

  constructor(
    private readonly canvas: HTMLCanvasElement,
    private readonly still: boolean,
    private readonly project: (at: LonLat) => [number, number],
    hasGpu: boolean,
  ) {
    const g = canvas.getContext('2d', { willReadFrequently: !hasGpu })
    if (!g) throw new Error('no Canvas 2D context for the map overlay')
    this.#g = g
    document.fonts.addEventListener('loadingdone', this.#refont)
  }

  destroy(): void {
    document.fonts.removeEventListener('loadingdone', this.#refont)
    if (this.#timer) clearInterval(this.#timer)
  }

  #refont = (): void => {
    this.#sprites.clear()
    this.draw()
  }

  /** Shows the scene; places markers and names anew only when those changed, not for another selection. */
  set(scene: Scene): void {
    const before = this.#scene
    this.#scene = scene
    const moved = (['lang', 'alarms', 'places', 'names'] as const).some((part) => before[part] !== scene[part])
    if (moved) this.draw()
    else this.#paint()
  }

  resize(width: number, height: number): void {
    const ratio = Math.max(1, devicePixelRatio)
    this.canvas.width = Math.max(1, Math.round(width * ratio))
    this.canvas.height = Math.max(1, Math.round(height * ratio))
    this.draw()
  }

  /** The most urgent marker under that pixel. */
  pick(x: number, y: number): Marker | undefined {
    return this.markers.find((marker) => Math.hypot(marker.x - x, marker.y - y) <= sideOf(marker.alarm.level) / 2 + 3)
  }

  /** Places everything anew (the view or the content changed) and paints it. */
  draw(): void {
    const [width, height] = this.#size()
    this.markers = cluster(this.#scene.alarms, this.project, { width, height })
    this.#placeLabels(width, height)
    this.#paint()
    this.#pace()
  }

  #size(): [number, number] {
    const ratio = Math.max(1, devicePixelRatio)
    return [this.canvas.width / ratio, this.canvas.height / ratio]
  }

  #paint(): void {
    const g = this.#g
    const ratio = Math.max(1, devicePixelRatio)
    g.setTransform(ratio, 0, 0, ratio, 0, 0)
    g.clearRect(0, 0, ...this.#size())
    for (const placed of this.#placed) this.#label(placed)
    for (const camera of this.#scene.cameras) this.#camera(camera)
    // From the least urgent up: the most urgent is never covered.
    for (let i = this.markers.length - 1; i >= 0; i--) this.#marker(this.markers[i] as Marker, i < PULSES_MOST)
    for (const marker of this.markers) if (marker.count > 1) this.#count(marker)
  }

  // Only waiting alarms move, and only while one is in sight: a quiet city costs nothing.
  #pace(): void {
    const moves = !this.still && this.markers.some((marker) => marker.alarm.state === 'unacknowledged')
    if (moves === (this.#timer !== null)) return
    if (this.#timer) clearInterval(this.#timer)
    this.#timer = moves ? setInterval(() => this.#paint(), PULSE_FRAME_MS) : null
  }

  // Greedy: markers first, then places, then facilities; what would cover something is left out.
  #placeLabels(width: number, height: number): void {
    const taken: Box[] = this.markers.map(({ x, y }) => ({ x0: x - 16, y0: y - 16, x1: x + 16, y1: y + 16 }))
    this.#placed = []
    const place = (label: Label, font: string, size: number, below: number): void => {
      const [x, centre] = this.project(label.at)
      const y = centre + below
      if (x < 0 || y < 0 || x > width || y > height) return
      this.#g.font = font
      const half = this.#g.measureText(label.text).width / 2 + 3
      const box = { x0: x - half, y0: y - size * 0.7, x1: x + half, y1: y + size * 0.7 }
      if (taken.some((b) => b.x0 < box.x1 && box.x0 < b.x1 && b.y0 < box.y1 && box.y0 < b.y1)) return
      taken.push(box)
      this.#placed.push({ text: label.text, font, x, y })
    }
    const face = fontOf(this.#scene.lang)
    for (const label of this.#scene.places) place(label, `500 13px ${face}`, 13, 0)
    for (const label of this.#scene.names) place(label, `400 12px ${face}`, 12, 14)
  }

  #label({ text, font, x, y }: Placed): void {
    const g = this.#g
    g.font = font
    g.textAlign = 'center'
    g.textBaseline = 'middle'
    g.lineJoin = 'round'
    g.lineWidth = 3
    g.strokeStyle = '#0B1016D9'
    g.strokeText(text, x, y)
    g.fillStyle = '#A9B8C7'
    g.fillText(text, x, y)
  }

  #camera(camera: Camera): void {
    const [x, y] = this.project(camera.location)
    const g = this.#g
    g.fillStyle = '#16202AE6'
    g.strokeStyle = '#4CC2FF'
    g.lineWidth = 1
    g.beginPath()
    g.roundRect(x - 11, y - 8, 22, 16, 3)
    g.fill()
    g.stroke()
    g.lineWidth = 1.4
    g.lineJoin = 'round'
    g.stroke(new Path2D(`M${x - 6.5} ${y - 3.5}h8v7h-8zM${x + 1.5} ${y - 1}l5-2.5v7l-5-2.5`))
  }

  #marker(marker: Marker, pulses: boolean): void {
    const { x, y, alarm } = marker
    const g = this.#g
    const half = sideOf(alarm.level) / 2
    if (alarm.state === 'unacknowledged') this.#pulse(x, y, half, COLOURS[alarm.level], pulses)
    this.#sprites.stamp(g, alarm, this.#scene.lang, x, y)
    if (this.#scene.selected !== null && marker.ids.includes(this.#scene.selected)) {
      g.strokeStyle = '#E6EDF3'
      g.lineWidth = 2
      g.beginPath()
      g.arc(x, y, half + 9, 0, 7)
      g.stroke()
    }
  }

  #count({ x, y, alarm, count }: Marker): void {
    const off = sideOf(alarm.level) * 0.45
    this.#badge(x + off, y - off, String(count), COLOURS[alarm.level])
  }

  #pulse(x: number, y: number, half: number, colour: string, moves: boolean): void {
    const g = this.#g
    const t = this.still || !moves ? 0.35 : (performance.now() % PULSE_MS) / PULSE_MS
    g.globalAlpha = 0.9 * (1 - t)
    g.strokeStyle = colour
    g.lineWidth = 2
    g.beginPath()
    g.arc(x, y, half + 1 + 10 * t, 0, 7)
    g.stroke()
    g.globalAlpha = 1
  }

  #badge(x: number, y: number, text: string, colour: string): void {
    const g = this.#g
    g.font = `700 12px ${fontOf(this.#scene.lang)}`
    const half = Math.max(9, g.measureText(text).width / 2 + 5)
    g.fillStyle = '#0B1016'
    g.strokeStyle = colour
    g.lineWidth = 1.2
    g.beginPath()
    g.roundRect(x - half, y - 9, 2 * half, 18, 9)
    g.fill()
    g.stroke()
    g.fillStyle = '#E6EDF3'
    g.textAlign = 'center'
    g.textBaseline = 'middle'
    g.fillText(text, x, y + 1)
  }
}
