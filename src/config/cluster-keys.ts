/**
 * The configuration keys of `cluster`: which nodes there are, where they meet, and how they prove
 * who they are. Part of the one table in `keys.ts`; `cluster-rules.ts` has what no single key says.
 */

import { NODE_NAME_RULE, clusterIdProblem, nodeIdProblem } from './node-names.ts';
import {
  address,
  addressAlways,
  choice,
  duration,
  onOff,
  section,
  sections,
  size,
  text,
  whole,
  wholeOrAuto,
} from './schema.ts';

/** More nodes than this would need another way to spread the definitions. */
const PEERS_MAX = 32;
/** As the ids of queues have room for. */
const SHARDS_MAX = 64;
const REPLICAS_MAX = 5;

function pathProblem(path: string): string | undefined {
  return path.includes('\0') ? 'is not a path' : undefined;
}

const tls = section(
  'What this node shows to others, and by whom it knows them (TLS 1.3, both ends). All three, or ' +
    'none. `fluxmq cert` makes them.',
  {
    cert: text({
      about:
        'Its certificate in PEM, with what lies between it and the authority. It names the node ' +
        'as `fluxmq://<cluster.id>/<node.id>`.',
      fallback: '',
      rule: 'a path',
      otherwise: 'no TLS',
      check: pathProblem,
    }),
    key: text({
      about: 'The private key of the certificate, in PEM, not encrypted.',
      fallback: '',
      rule: 'a path',
      otherwise: 'no TLS',
      check: pathProblem,
    }),
    ca: text({
      about: 'The certificates of the authorities that sign for nodes of this cluster, in PEM.',
      fallback: '',
      rule: 'a path',
      otherwise: 'no TLS',
      check: pathProblem,
    }),
  },
);

export const cluster = section('Several brokers that hold the same queues.', {
  id: text({
    about:
      'The name of the cluster. Nodes of another one are refused: give each cluster its own, and ' +
      'keep it for as long as its data lives.',
    fallback: 'fluxmq',
    rule: NODE_NAME_RULE,
    check: clusterIdProblem,
  }),
  listen: address({
    about:
      'Where the other nodes reach this one: `host:port`, or `off` for a single broker. Outside ' +
      'loopback TLS is required, or `allow_plaintext: true`.',
    fallback: 'off',
  }),
  peers: sections({
    about: 'All nodes of the cluster, this one too: the same list in the file of each node.',
    most: PEERS_MAX,
    fallback: [],
    each: section('A node of the cluster.', {
      id: text({
        about: 'Its `node.id`.',
        fallback: '',
        rule: NODE_NAME_RULE,
        check: (id) => (id === '' ? 'is empty: a node needs an id' : nodeIdProblem(id)),
      }),
      addr: addressAlways({ about: 'Where the others reach it.' }),
    }),
  }),
  shards: wholeOrAuto({
    about:
      'How many shards there are to be: each has a log and a leader of its own, and new queues ' +
      'go to the one with the fewest. More are made when it grows; it never makes fewer.',
    auto:
      'one for each of `cluster.peers`, which spreads the work over all nodes; 1 for a single ' +
      'broker',
    min: 1,
    max: SHARDS_MAX,
  }),
  replicas: whole({
    about:
      'On how many nodes a new shard lies: 1, 3 or 5, or on all that vote where there are fewer. ' +
      'The first shard lies on all nodes.',
    fallback: 3,
    min: 1,
    max: REPLICAS_MAX,
  }),
  tls,
  join: onOff({
    about:
      'Whether this node comes to a cluster that runs already: with an empty data directory it ' +
      'then waits until `fluxmq cluster add` has named it. The nodes that a cluster begins with ' +
      'have it off.',
    fallback: false,
  }),
  allow_plaintext: onOff({
    about:
      'Whether nodes may talk outside loopback without TLS. Whoever reaches `cluster.listen` can ' +
      'then read every message, act as any node, and destroy every queue.',
    fallback: false,
  }),
  max_peer_backlog: size({
    about:
      'Bytes that may wait for one slow node, of entries and of publishes on their way to it, ' +
      'each. Above it entries are dropped and sent again, and publishes wait. One message ' +
      'always has room.',
    fallback: '16MiB',
    min: '64KiB',
    max: '1GiB',
  }),
  catch_up_rate: size({
    about:
      'Bytes a second that nodes which lack a part of a shard get together from the one that ' +
      'leads it, while that serves publishes: with more they are there earlier, and publishers ' +
      'are slowed more. Where the log grows by more than two thirds of it, they get one and a ' +
      'half times what it grows by, so that they come nearer in any case. A shard to which ' +
      'nobody publishes gives what it can.',
    fallback: '16MiB',
    min: '1MiB',
    max: '4GiB',
  }),
  write_policy: choice({
    about:
      'What a node does with a publish for a queue that another node leads. `forward`: hands it ' +
      'on, and waits for its answer. `reject`: refuses it, and names the node that leads. ' +
      'Consumers and settlements are always handed on.',
    choices: ['forward', 'reject'],
    fallback: 'forward',
  }),
  distribution_mode: choice({
    about:
      'How the messages of a stream come to a consumer at a node that does not lead it. ' +
      '`replicate`: the leader says which, and the node reads them from its own replica. ' +
      '`forward`: the leader sends them. Order, groups and settlements are the same; consumers ' +
      'of other queues always get what the leader sends.',
    choices: ['forward', 'replicate'],
    fallback: 'replicate',
  }),
  reattach_grace: duration({
    about:
      'After a change of leader, and when a node is not reached: so long its consumers may keep ' +
      'what they hold without saying so. Then it goes to others. Until all nodes have said it, ' +
      'a new leader delivers nothing.',
    fallback: '2s',
    min: '100ms',
    max: '1m',
  }),
  start_grace: duration({
    about:
      'How long a node that starts waits for a leader of each shard behind the first one. Then ' +
      'it takes clients without those that have none: their queues are not reached, publishes ' +
      'at QoS 1 and 2 to ordinary topics are refused, and so are sessions that are to go on, ' +
      'until they are led again.',
    fallback: '10s',
    min: '100ms',
    max: '1h',
  }),
});
