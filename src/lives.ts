/**
 * The lives of something that is opened anew now and then: each is ended once, whatever comes
 * first, and what follows is done before it is stopped.
 *
 * Several reasons may end one life within one turn (its replica hears that it is a stranger, and
 * the keeper wants to renew it): the first one counts, and the others are of a life that is over.
 * What follows a life begins the next one, or none.
 */

export class Lives<Life extends object> {
  readonly #failed: (error: Error) => void;
  #current: Life;
  #isOver = false;
  #isStopped = false;
  #following: Promise<void> = Promise.resolve();

  /** `failed`: what follows a life was rejected. */
  constructor(first: Life, failed: (error: Error) => void) {
    this.#current = first;
    this.#failed = failed;
  }

  /** The newest; it may be over. */
  get current(): Life {
    return this.#current;
  }

  begin(life: Life): void {
    this.#current = life;
    this.#isOver = false;
  }

  /** False, and nothing is done: it was over, or everything is. */
  end(life: Life): boolean {
    if (life !== this.#current || this.#isOver || this.#isStopped) return false;
    this.#isOver = true;
    return true;
  }

  /** Ends it, and does what follows. Resolves when that, or what another reason began, is done. */
  async endWith(life: Life, follow: () => Promise<void>): Promise<void> {
    if (this.end(life)) {
      this.#following = follow().catch((error: unknown) =>
        this.#failed(error instanceof Error ? error : new Error(String(error))),
      );
    }
    await this.#following;
  }

  /** None ends any more; what follows one that did is done when it resolves. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    await this.#following;
  }
}
