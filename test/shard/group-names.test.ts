import { describe, expect, it } from 'vitest';
import { chooseGroup } from '../../src/shard/group-names.ts';

const wish = { group: undefined, filter: '', clientId: 'billing-1' };

describe('the group of a consumer', () => {
  it('is the one that it names, whatever the queue says, with its filter in the name', () => {
    for (const queue of ['shared', 'client'] as const) {
      expect(chooseGroup({ ...wish, group: 'audit' }, queue, 'own')).toMatchObject({
        name: 'audit',
        filter: '',
        kind: 'explicit',
      });
      expect(chooseGroup({ ...wish, group: 'audit', filter: 'eu/#' }, queue, 'own')).toMatchObject({
        name: 'audit@eu/#',
        filter: 'eu/#',
        kind: 'explicit',
      });
    }
  });

  it('is the default one where all share it; with a filter it does not stay for ever', () => {
    expect(chooseGroup(wish, 'shared', 'own')).toMatchObject({ name: 'default', kind: 'explicit' });
    expect(chooseGroup({ ...wish, filter: 'eu' }, 'shared', 'own')).toMatchObject({
      name: 'default@eu',
      kind: 'automatic',
    });
  });

  it('is named after the client id up to its first dash', () => {
    const names = ['billing-1', 'billing-2-x', 'billing', '-x', 'ö-1'].map(
      (clientId) => chooseGroup({ ...wish, clientId }, 'client', 'own').name,
    );
    expect(names).toEqual(['billing', 'billing', 'billing', '-x', 'ö']);
    expect(chooseGroup(wish, 'client', 'own')).toMatchObject({
      kind: 'automatic',
      isPrivate: false,
    });
  });

  it('is its own, and ends with it, where it has no client id either', () => {
    expect(chooseGroup({ ...wish, clientId: '', filter: 'eu' }, 'client', '~7.1')).toEqual({
      name: '~7.1@eu',
      filter: 'eu',
      kind: 'automatic',
      isPrivate: true,
    });
    expect(chooseGroup({ ...wish, clientId: '' }, 'shared', '~7.1').isPrivate).toBe(false);
  });

  it('a filter that takes all is none', () => {
    expect(chooseGroup({ ...wish, group: 'a', filter: '#' }, 'client', 'own')).toMatchObject({
      name: 'a',
      filter: '',
    });
  });
});
