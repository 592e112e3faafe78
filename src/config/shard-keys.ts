/**
 * The configuration keys of the shards and of what lies on the disk. Part of the one table in
 * `keys.ts`.
 */

import { choice, duration, fraction, section, size, sizeOrAuto, whole } from './schema.ts';

export const shards = section('The part that stores and delivers messages of queues.', {
  thread: choice({
    about: 'Where it runs: a `worker` thread of its own, or the `main` thread.',
    choices: ['worker', 'main'],
    fallback: 'worker',
  }),
  ack_timeout: duration({
    about: 'A publish that is not stored within this time is answered with a refusal.',
    fallback: '10s',
    min: '100ms',
    max: '10m',
  }),
  checkpoint_bytes: size({
    about: 'A checkpoint is written after this many bytes of changed records.',
    fallback: '16MiB',
    min: '64KiB',
    max: '1GiB',
  }),
  checkpoint_log_bytes: size({
    about: 'A checkpoint is written after this many bytes of log: what a restart has to read.',
    fallback: '256MiB',
    min: '1MiB',
    max: '16GiB',
  }),
  checkpoint_interval: duration({
    about: 'A checkpoint is written after this time, if anything changed.',
    fallback: '1m',
    min: '100ms',
    max: '1d',
  }),
  max_message_size: size({
    about: 'Largest payload that a queue takes; topic and properties have 64KiB on top.',
    fallback: '1MiB',
    min: '1KiB',
    max: '8MiB',
  }),
  cache_size: size({
    about: 'Memory for the newest part of the log, from which consumers that keep up are served.',
    fallback: '16MiB',
    min: '1MiB',
    max: '16GiB',
  }),
  read_cache_size: size({
    about: 'Memory for entries that were read back from the log or from runs.',
    fallback: '32MiB',
    min: '1MiB',
    max: '16GiB',
  }),
  location_index_size: size({
    about: 'Memory that tells where messages lie, as far as it could be loaded again.',
    fallback: '16MiB',
    min: '1MiB',
    max: '16GiB',
  }),
  max_resident_records: whole({
    about:
      'Records of the state (of queues, groups, timers) that stay in memory although nothing ' +
      'changed them lately.',
    fallback: 100_000,
    min: 1_000,
    max: 10_000_000,
  }),
  max_uncommitted_bytes: size({
    about: 'Bytes that may wait for the disk; above it publishers are not read.',
    fallback: '64MiB',
    min: '1MiB',
    max: '1GiB',
  }),
  ephemeral_size: size({
    about:
      'Memory of all ephemeral queues together, until their messages are settled; above it a ' +
      'publish to one is refused as one to a full queue.',
    fallback: '256MiB',
    min: '1MiB',
    max: '64GiB',
  }),
  max_outstanding_bytes: size({
    about: 'Deliveries on their way from the shard to the connections; above it none are read.',
    fallback: '4MiB',
    min: '64KiB',
    max: '1GiB',
  }),
  max_under_way: size({
    about: 'Publishes on their way from the connections to the shard, unanswered.',
    fallback: '32MiB',
    min: '64KiB',
    max: '1GiB',
  }),
  high_water: size({
    about:
      'Publishes that wait for the shard and are under way: above it publishers are not read, ' +
      'below the half of it they are again.',
    fallback: '16MiB',
    min: '64KiB',
    max: '1GiB',
  }),
  max_pending: size({
    about: 'The same, above which a publish is refused; at least `high_water`.',
    fallback: '256MiB',
    min: '64KiB',
    max: '16GiB',
  }),
});

export const storage = section('The log on the disk, and the runs that keep what outlives it.', {
  window: size({
    about:
      'So much of the log keeps its payloads; of what is older, those that are still wanted are ' +
      'written into a run, and the log is cut.',
    fallback: '512MiB',
    min: '2MiB',
    max: '1TiB',
  }),
  window_messages: whole({
    about: 'The same in messages: the smaller of both holds.',
    fallback: 1_000_000,
    min: 1_000,
    max: 100_000_000,
  }),
  run_block_size: size({
    about: 'A run is written and read in blocks of this size: what one read of it costs.',
    fallback: '64KiB',
    min: '4KiB',
    max: '1MiB',
  }),
  spill_buffer: size({
    about: 'Payloads that are in memory at once while a run is written.',
    fallback: '8MiB',
    min: '1MiB',
    max: '256MiB',
  }),
  compaction: section('Runs of which little is wanted are written anew, and so get smaller.', {
    share: fraction({
      about: 'The share of the time that this may take; it rests for the other.',
      fallback: 0.25,
      min: 0.01,
      max: 1,
    }),
  }),
  segment_size: size({
    about: 'A file of the log is this long; space comes back by whole files.',
    fallback: '64MiB',
    min: '1MiB',
    max: '1GiB',
  }),
  index_interval: size({
    about: 'One entry of the sparse index for each so many bytes of log.',
    fallback: '4KiB',
    min: '512B',
    max: '1MiB',
  }),
  sync_mode: choice({
    about:
      'How bytes reach stable storage: `prewritten-dsync` writes into prewritten files opened ' +
      'with O_DSYNC; `fdatasync` appends and syncs.',
    choices: ['prewritten-dsync', 'fdatasync'],
    fallback: 'prewritten-dsync',
  }),
  prewrite_size: size({
    about: 'Zeros are written ahead in pieces of this size.',
    fallback: '1MiB',
    min: '64KiB',
    max: '64MiB',
  }),
  idle_mark: duration({
    about: 'After so long without a write the end of the log is marked as proved; 0s is never.',
    fallback: '100ms',
    min: '0s',
    max: '1m',
  }),
  max_write_size: size({
    about: 'Most bytes that are written and synced at once.',
    fallback: '1MiB',
    min: '64KiB',
    max: '16MiB',
  }),
  reserve: sizeOrAuto({
    about: 'Free space on the disk below which publishes into queues are refused.',
    auto: '5% of the disk or 1GiB, the smaller one, and at least two segments',
    min: '2MiB',
    max: '1TiB',
  }),
});
