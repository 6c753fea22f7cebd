import { svelte } from '@sveltejs/vite-plugin-svelte'
import { defineConfig } from 'vitest/config'

const ui = '../src/haechi/faces/console/ui'
const api = 'http://127.0.0.1:8026'

export default defineConfig({
  base: './',
  plugins: [svelte()],
  build: {
    outDir: ui,
    emptyOutDir: true,
    target: 'es2022',
    // No data: URLs: the content security policy allows fonts and workers from our own origin only.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 1300,
  },
  server: { host: '127.0.0.1', proxy: { '/api': { target: api, ws: true }, '/health': api } },
  test: { environment: 'node', include: ['tests/**/*.test.ts'] },
})
