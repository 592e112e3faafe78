export * as none from './errors.ts';
export { nodeFiles } from './node-files.ts';
