/**
 * What consensus has in a log beside commands: the empty entry with which a term begins,
 * configurations, and hard states. As values, for people and for programs. Pure.
 *
 * A configuration counts from its place in the log on, whether it was committed or not: the log
 * alone cannot tell (Raft 6; thesis 4.1).
 */

import { type Configuration, ConfigurationError, decodeConfiguration, hardStateIn } from '#raft';
import { decodeHardState, type Inspected } from '#storage';
import { printable } from './dump-text.ts';

type Header = Extract<Inspected, { kind: 'batch' }>['header'];

const ENTRY = 1;
const HARD_STATE = 3;

interface Told {
  readonly members: Configuration['members'];
  /** The last one; in every later configuration too. */
  readonly rescue: Configuration['rescue'] | undefined;
}

export type RaftEvent =
  | { readonly kind: 'term begins'; readonly index: number; readonly term: number }
  | ({ readonly kind: 'configuration'; readonly index: number; readonly term: number } & Told)
  | {
      readonly kind: 'hard state';
      readonly term: number;
      readonly vote: string | undefined;
      readonly tailLost: boolean;
    };

export function hasCommands({ kind, recordCount }: Pick<Header, 'kind' | 'recordCount'>): boolean {
  return kind === ENTRY && recordCount > 0;
}

/** Undefined: it is a mark, or bytes that say nothing of this kind. */
export function raftEvent(header: Readonly<Header>, payload: Uint8Array): RaftEvent | undefined {
  const { kind, index, epoch: term } = header;
  if (kind === HARD_STATE) {
    const state = decodeHardState(payload);
    if (state === undefined) return undefined;
    const { vote, tailLost = false, term: voted } = hardStateIn(state);
    return { kind: 'hard state', term: voted, vote, tailLost };
  }
  if (kind !== ENTRY || header.recordCount > 0) return undefined;
  if (payload.length === 0) return { kind: 'term begins', index, term };
  const configuration = configurationIn(payload);
  if (configuration === undefined) return undefined;
  const { members, rescue } = configuration;
  return { kind: 'configuration', index, term, members, rescue };
}

function configurationIn(payload: Uint8Array): Configuration | undefined {
  try {
    return decodeConfiguration(payload);
  } catch (error) {
    if (error instanceof ConfigurationError) return undefined;
    throw error;
  }
}

export function raftText(event: RaftEvent): string {
  switch (event.kind) {
    case 'term begins':
      return `term ${event.term} begins`;
    case 'configuration':
      return `configuration ${membersText(event)}`;
    case 'hard state': {
      const lost = event.tailLost ? ', the end of the log was lost' : '';
      return `hard state term ${event.term}, vote ${printable(event.vote ?? '-')}${lost}`;
    }
  }
}

function membersText({ members, rescue }: Told): string {
  const told = members.map((member) => memberText(member)).join(', ');
  return rescue === undefined ? told : `${told}; rescued ${rescueText(rescue)}`;
}

export function rescueText(rescue: NonNullable<Configuration['rescue']>): string {
  const { by, atMs, lastIndex, lastTerm, givenUp } = rescue;
  const at = new Date(atMs).toISOString();
  const names = givenUp.map((id) => printable(id)).join(', ');
  const where = `behind entry ${lastIndex} of term ${lastTerm}`;
  return `by ${printable(by)} at ${at} ${where}, without ${names}`;
}

export function memberText({ id, role, address }: Configuration['members'][number]): string {
  const at = address === '' ? '' : ` at ${printable(address)}`;
  return `${printable(id)} (${role}${at})`;
}

export function raftFields(event: RaftEvent): object {
  const { kind: _kind, ...fields } = event;
  if ('rescue' in fields && fields.rescue !== undefined) {
    const { by, atMs, lastIndex, lastTerm, givenUp } = fields.rescue;
    const rescue = {
      by,
      at_ms: atMs,
      last_index: lastIndex,
      last_term: lastTerm,
      given_up: givenUp,
    };
    return { ...fields, rescue };
  }
  return 'vote' in fields ? { ...fields, vote: fields.vote ?? null } : fields;
}
