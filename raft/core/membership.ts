/**
 * What a change of membership makes of a configuration (thesis 4.1, 4.2). Pure.
 *
 * Voters change by one at a time, so that any two majorities of neighbouring configurations
 * overlap. When a change is allowed at all is decided where it is proposed.
 */

import { compareIds, votersOf } from './configuration.ts';
import type { Configuration, Member, MembershipChange } from './configuration.ts';
import type { ServerId } from './ids.ts';
import type { ChangeRefusal } from './outcome.ts';

function withMember(configuration: Configuration, member: Member): Configuration {
  const others = configuration.members.filter(({ id }) => id !== member.id);
  return {
    ...configuration,
    members: [...others, member].sort((a, b) => compareIds(a.id, b.id)),
  };
}

/** The next configuration, or why there is none. */
export function changed(
  configuration: Configuration,
  change: MembershipChange,
): Configuration | ChangeRefusal {
  const member = configuration.members.find(({ id }) => id === change.id);
  if (change.kind === 'add') {
    if (member !== undefined) return 'already-member';
    if (configuration.rescue?.givenUp.includes(change.id) === true) return 'given-up';
    const { id, role, address } = change;
    return withMember(configuration, { id, role, address });
  }
  if (member === undefined) return 'not-member';
  const isLastVoter = member.role === 'voter' && votersOf(configuration).length === 1;
  switch (change.kind) {
    case 'promote':
      if (member.role === 'voter') return 'not-learner';
      return withMember(configuration, { ...member, role: 'voter' });
    case 'demote':
      if (member.role !== 'voter') return 'not-voter';
      return isLastVoter ? 'last-voter' : withMember(configuration, { ...member, role: 'learner' });
    case 'remove':
      return isLastVoter ? 'last-voter' : without(configuration, member.id);
  }
}

function without(configuration: Configuration, gone: ServerId): Configuration {
  const members = configuration.members.filter(({ id }) => id !== gone);
  return { ...configuration, members };
}
