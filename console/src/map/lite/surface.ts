// The map on Canvas 2D, for thin clients without a GPU. Redraws only when the view or its content changed.
import type { LonLat } from '../../lib/shapes'
import { Dots, OPACITY, RADIUS } from '../dots'
import { OUTSIDE, widthAt, type Drawn } from '../draw'
import { latOf, lonOf, mercX, mercY, worldPx, type View } from '../mercator'
import type { Surface, SurfaceOptions } from '../surface'
import { listen } from './gestures'
import { shapes, UNITS, type Shape } from './paths'

const FLY_MS = 150
const [MIN_ZOOM, MAX_ZOOM] = [7, 19]

interface Painted extends Drawn {
  shapes: Shape[]
}

export class LiteSurface implements Surface {
  readonly kind = 'lite'
  #canvas = document.createElement('canvas')
  #context: CanvasRenderingContext2D
  #x: number
  #y: number
  #zoom: number
  #origin: [number, number]
  #painted: Painted[] = []
  #dots = Dots.NONE
  #frame = 0
  // Asked of the layout once per resize, not once per projected place.
  #width = 0
  #height = 0
  #stopListening: () => void

  constructor(private readonly options: SurfaceOptions) {
    // Drawn by the processor: a software renderer behind the graphics interface is several times slower.
    const context = this.#canvas.getContext('2d', { alpha: false, willReadFrequently: true })
    if (!context) throw new Error('this browser draws neither WebGL2 nor Canvas 2D')
    this.#context = context
    this.#x = mercX(options.view.centre[0])
    this.#y = mercY(options.view.centre[1])
    this.#zoom = options.view.zoom
    this.#origin = [this.#x, this.#y]
    this.#canvas.tabIndex = 0
    this.#canvas.setAttribute('role', 'region')
    this.#canvas.setAttribute('aria-label', options.label)
    this.#canvas.style.cssText = 'position:absolute;inset:0;width:100%;height:100%;touch-action:none;cursor:grab'
    options.container.append(this.#canvas)
    this.#stopListening = listen(this.#canvas, {
      pan: (dx, dy) => this.#pan(dx, dy),
      zoom: (steps, x, y) => this.#zoomAt(steps, x, y),
    })
    this.resize()
  }

  setBase(drawn: Drawn[]): void {
    this.#painted = drawn.map((one) => ({ ...one, shapes: shapes(one, ...this.#origin) }))
    this.#soon()
    requestAnimationFrame(() => requestAnimationFrame(() => this.options.onReady()))
  }

  setDots(dots: Dots): void {
    this.#dots = dots
    this.#soon()
  }

  view(): View {
    return { centre: [lonOf(this.#x), latOf(this.#y)], zoom: this.#zoom }
  }

  flyTo(view: View): void {
    const [x, y, zoom] = [mercX(view.centre[0]), mercY(view.centre[1]), clampZoom(view.zoom)]
    if (this.options.still) return this.#look(x, y, zoom)
    const [x0, y0, zoom0, start] = [this.#x, this.#y, this.#zoom, performance.now()]
    const step = (now: number): void => {
      const t = Math.min(1, Math.max(0, (now - start) / FLY_MS))
      this.#look(x0 + (x - x0) * t, y0 + (y - y0) * t, zoom0 + (zoom - zoom0) * t)
      if (t < 1) requestAnimationFrame(step)
    }
    requestAnimationFrame(step)
  }

  zoomBy(steps: number): void {
    this.flyTo({ ...this.view(), zoom: this.#zoom + steps })
  }

  project(at: LonLat): [number, number] {
    const px = worldPx(this.#zoom)
    return [(mercX(at[0]) - this.#x) * px + this.#width / 2, (mercY(at[1]) - this.#y) * px + this.#height / 2]
  }

  resize(): void {
    this.#width = this.#canvas.clientWidth
    this.#height = this.#canvas.clientHeight
    this.#canvas.width = Math.max(1, this.#width * devicePixelRatio)
    this.#canvas.height = Math.max(1, this.#height * devicePixelRatio)
    this.#soon()
  }

  destroy(): void {
    cancelAnimationFrame(this.#frame)
    this.#stopListening()
    this.#canvas.remove()
  }

  #pan(dx: number, dy: number): void {
    const px = worldPx(this.#zoom)
    this.#look(this.#x - dx / px, this.#y - dy / px, this.#zoom)
  }

  #zoomAt(steps: number, x: number, y: number): void {
    const zoom = clampZoom(this.#zoom + steps)
    const [dx, dy] = [x - this.#width / 2, y - this.#height / 2]
    const gain = 1 / worldPx(this.#zoom) - 1 / worldPx(zoom)
    this.#look(this.#x + dx * gain, this.#y + dy * gain, zoom)
  }

  #look(x: number, y: number, zoom: number): void {
    this.#x = x
    this.#y = y
    this.#zoom = zoom
    this.#soon()
  }

  #soon(): void {
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0
      this.#draw()
      this.options.onDraw()
    })
  }

  #draw(): void {
    const { width, height } = this.#canvas
    const g = this.#context
    g.setTransform(1, 0, 0, 1, 0, 0)
    g.fillStyle = OUTSIDE
    g.fillRect(0, 0, width, height)
    const scale = (worldPx(this.#zoom) * devicePixelRatio) / UNITS
    const [ox, oy] = [(this.#x - this.#origin[0]) * UNITS, (this.#y - this.#origin[1]) * UNITS]
    g.setTransform(scale, 0, 0, scale, width / 2 - ox * scale, height / 2 - oy * scale)
    const half = [width / 2 / scale, height / 2 / scale] as const
    const seen = (s: Shape): boolean =>
      s.east > ox - half[0] && s.west < ox + half[0] && s.south > oy - half[1] && s.north < oy + half[1]
    for (const one of this.#painted) if (this.#zoom >= one.minZoom) this.#paint(one, one.shapes.filter(seen), scale)
    this.#drawDots(width, height)
  }

  #paint(one: Painted, seen: Shape[], scale: number): void {
    const g = this.#context
    if (one.fill) {
      g.fillStyle = one.fill
      for (const shape of seen) g.fill(shape.path, 'evenodd')
    }
    if (!one.line) return
    const width = (widthAt(one.width ?? [[0, 1]], this.#zoom) * devicePixelRatio) / scale
    g.strokeStyle = one.line
    g.lineWidth = width
    g.lineJoin = 'round'
    g.setLineDash(one.dash ? one.dash.map((part) => part * width) : [])
    for (const shape of seen) g.stroke(shape.path)
  }

  #drawDots(width: number, height: number): void {
    const g = this.#context
    g.setTransform(1, 0, 0, 1, 0, 0)
    const px = worldPx(this.#zoom) * devicePixelRatio
    const radius = widthAt(RADIUS, this.#zoom) * devicePixelRatio
    g.globalAlpha = widthAt(OPACITY, this.#zoom)
    const { x, y, colour } = this.#dots
    for (let i = 0; i < x.length; i++) {
      const dx = ((x[i] ?? 0) - this.#x) * px + width / 2
      const dy = ((y[i] ?? 0) - this.#y) * px + height / 2
      if (dx < 0 || dy < 0 || dx > width || dy > height) continue
      g.fillStyle = colour[i] ?? '#9FB3C8'
      if (radius < 2) {
        g.fillRect(dx - radius, dy - radius, 2 * radius, 2 * radius)
      } else {
        g.beginPath()
        g.arc(dx, dy, radius, 0, 7)
        g.fill()
      }
    }
    g.globalAlpha = 1
  }
}

const clampZoom = (zoom: number): number => Math.min(MAX_ZOOM, Math.max(MIN_ZOOM, zoom))
