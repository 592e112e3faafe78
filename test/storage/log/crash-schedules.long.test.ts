/**
 * The log under power cuts, on a failing disk and over damaged files: the schedules behind those
 * that run on every change. Each says how to run it again.
 */
import { describe } from 'vitest';
import { describeDamage } from './damage-schedules.ts';
import { describeFaults } from './fault-schedules.ts';
import { describePowerCuts } from './power-cuts.ts';

describe('power cuts', () => describePowerCuts(500, 1500));
describe('a failing disk', () => describeFaults(40, 110));
describe('damaged files', () => describeDamage(40, 110));
