// Alarm markers drawn once per level, look, language and pixel ratio, then copied: 10,000 of them cost little.
import { character, COLOURS, look, SHAPES } from '../lib/severity'
import type { Alarm, Lang, Level } from '../lib/shapes'

const INK = '#0B1016'
const GREY = '#7D8FA1'
export const FONT = '"Noto Sans KR Variable","Noto Sans SC Variable",sans-serif'
export const FONT_ZH = '"Noto Sans SC Variable","Noto Sans KR Variable",sans-serif'
export const fontOf = (lang: Lang): string => (lang === 'zh' ? FONT_ZH : FONT)

/** Side of the marker's box in CSS pixels; the highest level is a third larger so that it also stands out without colour. */
export const sideOf = (level: Level): number => (level === 'serious' ? 37 : 28)

const PAD = 3

export class Sprites {
  #made = new Map<string, HTMLCanvasElement>()

  clear(): void {
    this.#made.clear()
  }

  /** Draws the alarm's marker centred on (x, y); the context is scaled to CSS pixels. */
  stamp(g: CanvasRenderingContext2D, alarm: Alarm, lang: Lang, x: number, y: number): void {
    const side = sideOf(alarm.level) + 2 * PAD
    g.drawImage(this.#sprite(alarm.level, look(alarm.state), lang), x - side / 2, y - side / 2, side, side)
  }

  #sprite(level: Level, kind: 'filled' | 'outline' | 'grey', lang: Lang): HTMLCanvasElement {
    const ratio = Math.max(1, devicePixelRatio)
    const key = `${level}/${kind}/${lang}/${ratio}`
    const known = this.#made.get(key)
    if (known) return known
    const canvas = document.createElement('canvas')
    const side = sideOf(level)
    canvas.width = canvas.height = Math.ceil((side + 2 * PAD) * ratio)
    const g = canvas.getContext('2d')
    if (g) {
      g.scale(ratio, ratio)
      g.translate(PAD, PAD)
      g.scale(side / 32, side / 32)
      paint(g, level, kind, lang)
    }
    this.#made.set(key, canvas)
    return canvas
  }
}

function paint(g: CanvasRenderingContext2D, level: Level, kind: 'filled' | 'outline' | 'grey', lang: Lang): void {
  const { path, y, size } = SHAPES[level]
  const shape = new Path2D(path)
  const colour = kind === 'grey' ? GREY : COLOURS[level]
  g.lineJoin = 'round'
  // A dark rim keeps the marker apart from roads and neighbours; the highest level gets a white one.
  g.lineWidth = level === 'serious' && kind === 'filled' ? 4.4 : 3.6
  g.strokeStyle = level === 'serious' && kind === 'filled' ? '#FFFFFF' : INK
  g.stroke(shape)
  g.fillStyle = kind === 'outline' ? '#10171F' : colour
  g.fill(shape)
  if (kind === 'outline') {
    g.lineWidth = 2.4
    g.strokeStyle = colour
    g.stroke(shape)
  }
  g.fillStyle = kind === 'outline' ? colour : INK
  g.font = `700 ${lang === 'en' ? size : size + 0.5}px ${fontOf(lang)}`
  g.textAlign = 'center'
  g.textBaseline = 'alphabetic'
  const text = character(level, lang)
  const box = g.measureText(text)
  g.fillText(text, 16, y + (box.actualBoundingBoxAscent - box.actualBoundingBoxDescent) / 2)
}
