/** Sessions that are members of shares, and publish to others: what seldom comes by itself. */

import { fc } from '../support/properties.ts';
import type { Command } from '../../src/machine/command.ts';
import { defaultLimits } from '../../src/machine/default-definition.ts';
import type { QueueId } from '../../src/machine/ids.ts';
import type { StoredSubscription } from '../../src/machine/session-record.ts';
import { NODES, placeOf } from './machine-commands.ts';
import type { MachineModel } from './machine-model.ts';
import { CommandStep } from './machine-runner.ts';

const NAME = '$session/a';
const DECLARE: Command = {
  kind: 'declare-queue',
  name: NAME,
  type: 'session',
  topics: [],
  limits: defaultLimits(NAME, 'session'),
};
const LIMITS = { maxMessages: 1_000, maxBytes: 0, overflow: 'drop-head' } as const;

const plain = { noLocal: false, retainAsPublished: false, identifier: 0, wish: '' } as const;
const SHARE: StoredSubscription = {
  filter: '$share/g/m',
  qos: 1,
  ...plain,
  retainHandling: 0,
  isRouted: true,
};

interface Owner {
  readonly queueId: QueueId;
  readonly ownerEpoch: number;
  readonly incarnation: string;
}

/** The session of this name; with the epoch 0: nobody has claimed it. Undefined: there is none. */
function sessionIn(model: MachineModel): Owner | undefined {
  const queue = [...model.queues.values()].find(({ definition }) => definition.name === NAME);
  if (queue === undefined) return undefined;
  const owned = model.mqttSessions.claimed().find(({ queueId }) => queueId === queue.id);
  const { epoch: ownerEpoch, incarnation } = owned ?? { epoch: 0, incarnation: '' };
  return { queueId: queue.id as QueueId, ownerEpoch, incarnation };
}

/** Subscribes, is left for a while, and maybe comes back; or is made first. */
export const member = fc
  .record({
    expirySeconds: fc.constantFrom(0, 1, 60, undefined),
    back: fc.constantFrom('no', 'no', 'resume-session', 'claim-session'),
    token: fc.integer({ min: 1_000_001, max: 2_000_000 }),
  })
  .map(
    (m) =>
      new CommandStep(`member ${JSON.stringify(m)}`, (model): Command[] => {
        const of = sessionIn(model);
        if (of === undefined) return [DECLARE];
        const claim: Command = {
          kind: 'claim-session',
          queueId: of.queueId,
          epoch: of.ownerEpoch,
          token: `m${m.token}`,
          cleanStart: false,
          incarnation: 's',
          user: undefined,
          expirySeconds: 60,
          limits: LIMITS,
          will: undefined,
        };
        if (of.ownerEpoch === 0) return [claim];
        const { queueId, ownerEpoch } = of;
        const owner = { queueId, ownerEpoch };
        const { expirySeconds } = m;
        const comes: Command[] = [
          { kind: 'change-session', ...owner, subscribe: [SHARE], unsubscribe: [] },
          { kind: 'leave-session', ...owner, expirySeconds, isInPeace: true },
        ];
        if (m.back === 'resume-session') comes.push({ kind: 'resume-session', ...owner });
        if (m.back === 'claim-session') comes.push(claim);
        return comes;
      }),
  );

/** Chooses for a publish, once more, and sometimes behind the release of its key. */
export const chooses = fc
  .record({
    packetId: fc.integer({ min: 1, max: 2 }),
    token: fc.integer({ min: 1, max: 3 }),
    shares: fc.uniqueArray(fc.nat({ max: 3 }), { maxLength: 3 }),
    isInstead: fc.constantFrom(false, false, true),
    isReleased: fc.boolean(),
    node: fc.constantFrom(...NODES),
  })
  .map(
    (c) =>
      new CommandStep(`chooses ${JSON.stringify(c)}`, (model): Command[] => {
        const of = sessionIn(model);
        if (of === undefined) return [DECLARE];
        const { queueId, ownerEpoch, incarnation: session } = of;
        const { packetId, token } = c;
        const choose = (at: number, isInstead: boolean): Command => ({
          kind: 'choose-session',
          queueId,
          ownerEpoch,
          packetId,
          token: token + at,
          choices: c.shares.map((share) => ({ share, queueId: (share + token + at) as QueueId })),
          isInstead,
        });
        const key = { session, ownerEpoch, packetId };
        const release: Command = { kind: 'release', ...placeOf(model, c.node), key };
        const twice = [choose(0, false), choose(1, c.isInstead)];
        return c.isReleased ? [...twice, release] : twice;
      }),
  );
