/** Random commands of names and of the shard map, for the machine and its model. */

import { fc } from '../support/properties.ts';
import type { Command } from '../../src/machine/command.ts';
import { CommandStep } from './machine-runner.ts';

const name = fc.oneof(
  fc.nat({ max: 90 }).map((at) => `p${at}`),
  fc.constantFrom('p0', 'p1', 'mail', 'a/b'),
);
const shards = fc.array(fc.nat({ max: 4 }), { maxLength: 4 });
const near = fc.oneof(fc.constant(''), name);
const node = fc.constantFrom('n1', 'n2', 'n3', 'n4');

export const place = fc
  .record({ name, among: shards, near, count: fc.constantFrom(1, 1, 1, 70) })
  .map(
    ({ count, ...asked }) =>
      new CommandStep(`place ${count} ${JSON.stringify(asked)}`, () =>
        Array.from({ length: count }, (_, at) => ({
          kind: 'place-queue',
          ...asked,
          name: at === 0 ? asked.name : `p${at}`,
        })),
      ),
  );

/** At its version, most often. */
export const unplace = fc.record({ name, back: fc.constantFrom(0, 0, 0, 1) }).map(
  ({ name: of, back }) =>
    new CommandStep(`unplace ${of} ${back}`, (model) => {
      const version = (model.places.rows.get(of)?.version ?? 1) - back;
      return { kind: 'unplace-queue', name: of, version };
    }),
);

export const changeMap = fc
  .record({
    kind: fc.constantFrom('add-shard', 'host-shard', 'unhost-shard', 'fence-names'),
    ahead: fc.integer({ min: 0, max: 2 }),
    founders: fc.array(node, { maxLength: 4 }),
    node,
  })
  .map(
    ({ kind, ahead, founders, node: host }) =>
      new CommandStep(`map ${kind} ${ahead} ${founders.join()} ${host}`, (model): Command => {
        const number = model.places.map.length + ahead;
        if (kind === 'fence-names') return { kind, version: number };
        return kind === 'add-shard' ? { kind, number, founders } : { kind, number, node: host };
      }),
  );
