// Which rows of a long list exist in the document. Used by panels/Virtual.svelte.

export interface Window {
  first: number
  last: number
}

/** Rows [first, last) for that scroll offset, with some spare on both sides. */
export function visible(total: number, row_px: number, top_px: number, height_px: number, spare = 4): Window {
  const first = Math.max(0, Math.floor(top_px / row_px) - spare)
  const last = Math.min(total, Math.ceil((top_px + height_px) / row_px) + spare)
  return { first: Math.min(first, last), last }
}

/** The scroll offset that brings a row fully into view with the least movement. */
export function scrollTo(index: number, row_px: number, top_px: number, height_px: number): number {
  const [above, below] = [index * row_px, (index + 1) * row_px]
  if (above < top_px) return above
  if (below > top_px + height_px) return below - height_px
  return top_px
}
