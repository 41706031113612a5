import type { Cell } from './bench.ts'

const WIDTH = 760
const RIGHT = 64
const BAR = 15
const GAP = 3
const GROUP_GAP = 18
const TOP = 64
/** Of one entry of the legend, where there is room. */
const LEGEND = 130
/** Readable on white and on black; told apart without colours by their order. */
const COLORS = ['#3b82f6', '#f59e0b', '#10b981', '#a855f7', '#ef4444', '#64748b']
const STYLE =
  'text{font:12px system-ui,sans-serif;fill:#4b5563}.title{font-weight:600}@media(prefers-color-scheme:dark){text{fill:#c9d1d9}}'

/** Horizontal bars, less is better. */
export interface BarChart {
  readonly title: string
  /** For who cannot see it. */
  readonly label: string
  /** Room for the names of the groups. */
  readonly left: number
  /** A bar of each in every group. */
  readonly series: readonly string[]
  /** `values`: of the series in their order; what is no number has no bar. */
  readonly groups: readonly { readonly name: string; readonly values: readonly Cell[] }[]
}

/** An SVG document. Names are our own, and without markup. */
export function barChart({ title, label, left, series, groups }: BarChart): string {
  const most = Math.max(...groups.flatMap(({ values }) => values.map(Number)))
  const scale = (WIDTH - left - RIGHT) / most
  const groupHeight = series.length * (BAR + GAP) + GROUP_GAP
  const height = TOP + groups.length * groupHeight + 8
  const bodies = groups.map(({ name, values }, row) => {
    const top = TOP + row * groupHeight
    const bars = series.map((each, i) => {
      const value = values[i]
      const y = top + i * (BAR + GAP)
      if (typeof value !== 'number') return ''
      const width = Math.max(1, value * scale)
      const figure = `<text x="${(left + width + 6).toFixed(1)}" y="${y + 12}">${value.toFixed(1)}</text>`
      return `<rect x="${left}" y="${y}" width="${width.toFixed(1)}" height="${BAR}" rx="2" fill="${COLORS[i]}"><title>${each}</title></rect>${figure}`
    })
    return `<text x="${left - 10}" y="${top + (groupHeight - GROUP_GAP) / 2 + 4}" text-anchor="end">${name}</text>${bars.join('')}`
  })
  const step = Math.min(LEGEND, (WIDTH - left) / series.length)
  const legend = series.map((each, i) => {
    const x = left + i * step
    return `<rect x="${x}" y="36" width="12" height="12" rx="2" fill="${COLORS[i]}"/><text x="${x + 18}" y="46">${each}</text>`
  })
  const heading = `<text class="title" x="${left}" y="20">${title}</text>`
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img" aria-label="${label}"><style>${STYLE}</style>${heading}${legend.join('')}${bodies.join('')}</svg>\n`
}
