/** What is used of node:http. An import statement would evaluate all its exports, and so load Node's fetch(): 30 ms in every thread. */
export const { createServer, METHODS, STATUS_CODES } = process.getBuiltinModule('node:http')
