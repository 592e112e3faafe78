/**
 * The streams to the other nodes cannot be opened: the one error that crosses from the shards'
 * thread to whoever started the node, with the key of the configuration that is at fault.
 */

export const LISTEN_KEY = 'cluster.listen';

export class PeerStartError extends Error {
  readonly key: string;

  constructor(key: string, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = 'PeerStartError';
    this.key = key;
  }

  /** Else a file is wrong. */
  get isAboutListening(): boolean {
    return this.key === LISTEN_KEY;
  }
}
