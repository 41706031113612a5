import type { PipelineObserver } from '../pipeline.ts'

/** One observer that tells several, in their order. */
export function combine(observers: readonly PipelineObserver[]): PipelineObserver {
  const [only] = observers
  if (observers.length === 1 && only !== undefined) return only
  return {
    onQuery: (query) => {
      for (const observer of observers) observer.onQuery(query)
    },
    onAnswer: (query, answer, now) => {
      for (const observer of observers) observer.onAnswer(query, answer, now)
    },
    onRefusal: (query, failure) => {
      for (const observer of observers) observer.onRefusal(query, failure)
    },
  }
}
