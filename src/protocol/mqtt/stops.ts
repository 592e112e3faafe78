/** Why a connection does not read now; it reads while none of these holds. */

export class Stops {
  /** CONNECT comes in too many pieces. */
  pieces = false;
  /** CONNECT is being answered. */
  entry = false;
  /** The share of the turn is used up. */
  share = false;
  /** The shard is behind. */
  shard = false;
  /** Too many publishes wait for an answer. */
  answers = false;
  /** The client does not take what it is sent. */
  output = false;
  /** The log takes a subscription. */
  change = false;
  /** A service is asked whether the packet in hand may be taken. */
  verdict = false;

  get any(): boolean {
    return this.entry || this.pieces || this.output || this.ours;
  }

  /** Those for which a client that is connected is not to blame. */
  get ours(): boolean {
    return this.share || this.shard || this.answers || this.change || this.verdict;
  }
}
