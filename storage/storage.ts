export * as none from './errors.ts';
