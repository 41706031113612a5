import { z } from '@hono/zod-openapi'

/** Whether either type can stand for the other. */
type Same<A, B> = [A] extends [B] ? ([B] extends [A] ? unknown : never) : never

/** Takes a schema only if what it describes is what the interface says, no more and no less. */
export function describing<T>() {
  return <S extends z.ZodType>(schema: S & Same<z.infer<S>, T>): S => schema
}

export const list = <S extends z.ZodType>(schema: S) => z.array(schema).readonly()
export const count = (description: string) => z.int().min(0).describe(description)
export const time = (description: string) => z.iso.datetime().describe(description)
