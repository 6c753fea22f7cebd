// Which renderer this machine can carry: WebGL2 on real hardware, else Canvas 2D. `?map=gl` and `?map=lite` overrule.
import type { Surface, SurfaceOptions, Renderer } from './surface'

const SOFTWARE = /swiftshader|llvmpipe|softpipe|software|basic render|swrast/i

/** `null`: no WebGL2 at all; else the renderer's own name. */
function webgl2(): string | null {
  const gl = document.createElement('canvas').getContext('webgl2')
  if (!gl) return null
  const debug = gl.getExtension('WEBGL_debug_renderer_info')
  const name = String(gl.getParameter(debug ? debug.UNMASKED_RENDERER_WEBGL : gl.RENDERER))
  gl.getExtension('WEBGL_lose_context')?.loseContext()
  return name
}

export function choose(asked: string | null, renderer: () => string | null): Renderer {
  if (asked === 'lite') return 'lite'
  const name = renderer()
  if (name === null) return 'lite'
  return asked === 'gl' || !SOFTWARE.test(name) ? 'gl' : 'lite'
}

export async function makeSurface(options: SurfaceOptions): Promise<Surface> {
  const asked = new URLSearchParams(location.search).get('map')
  if (choose(asked, webgl2) === 'gl') {
    const { GlSurface } = await import('./gl/surface')
    return new GlSurface(options)
  }
  const { LiteSurface } = await import('./lite/surface')
  return new LiteSurface(options)
}

export const isStill = (): boolean =>
  new URLSearchParams(location.search).has('still') || matchMedia('(prefers-reduced-motion: reduce)').matches
