/** The candidate that `word` probably meant, whatever its letter case, hyphens and underscores. Null when none is near. */
export function closest(word: string, candidates: readonly string[]): string | null {
  const plain = bare(word)
  let best: string | null = null
  // one slip in a short word, more in a long one
  let bestDistance = Math.min(3, Math.max(1, Math.floor(plain.length / 3))) + 1
  for (const candidate of candidates) {
    const other = bare(candidate)
    // the difference in length is the least the distance can be
    const distance = Math.abs(other.length - plain.length) < bestDistance ? editDistance(plain, other) : bestDistance
    if (distance < bestDistance) [best, bestDistance] = [candidate, distance]
  }
  return best
}

function bare(word: string): string {
  return word.toLowerCase().replaceAll(/[-_]/g, '')
}

/** Insertions, deletions, substitutions and swaps of neighbours that lead from `a` to `b` (optimal string alignment). */
function editDistance(a: string, b: string): number {
  let before: readonly number[] = []
  let above = Array.from({ length: b.length + 1 }, (_, i) => i)
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    for (let j = 1; j <= b.length; j++) {
      const substituted = at(above, j - 1) + (a[i - 1] === b[j - 1] ? 0 : 1)
      const swapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1] ? at(before, j - 2) + 1 : substituted
      row.push(Math.min(substituted, swapped, at(above, j) + 1, at(row, j - 1) + 1))
    }
    before = above
    above = row
  }
  return at(above, b.length)
}

function at(row: readonly number[], index: number): number {
  return row[index] ?? Number.MAX_SAFE_INTEGER
}
