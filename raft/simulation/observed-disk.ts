/**
 * The port `Disk` with the checks listening in: every write is told to them before it goes to the
 * log, every completion before it goes to the host. Changes nothing on the way; after the end of
 * the process, and while it is paused, the host hears nothing.
 */

import type { Disk, DamagedRange, DiskListener, DiskRead, DiskWrite } from '../host/ports.ts';
import type { HardState, TermStart } from '../raft.ts';
import type { Process } from './node-clock.ts';
import type { WriteWatch } from './write-watch.ts';

export interface ObservedDiskOptions {
  readonly disk: Disk;
  readonly watch: WriteWatch;
  readonly process: Process;
  cutPrefix(start: number): void;
  violated(error: unknown): void;
  touched(): void;
}

export class ObservedDisk implements Disk {
  readonly #options: ObservedDiskOptions;
  readonly #disk: Disk;

  constructor(options: ObservedDiskOptions) {
    this.#options = options;
    this.#disk = options.disk;
  }

  get start(): number {
    return this.#disk.start;
  }

  get termBeforeStart(): number {
    return this.#disk.termBeforeStart;
  }

  get last(): number {
    return this.#disk.last;
  }

  get durable(): number {
    return this.#disk.durable;
  }

  get terms(): readonly TermStart[] {
    return this.#disk.terms;
  }

  get hardState(): HardState {
    return this.#disk.hardState;
  }

  get hardStateUnsure(): boolean {
    return this.#disk.hardStateUnsure;
  }

  get faulty(): readonly DamagedRange[] {
    return this.#disk.faulty;
  }

  recover(): Promise<void> {
    return this.#disk.recover();
  }

  listen(listener: DiskListener): void {
    const { process, watch } = this.#options;
    this.#disk.listen({
      persisted: (token) => {
        if (process.isOver) return;
        this.#check(() => watch.persisted(token));
        process.run(() => {
          listener.persisted(token);
          this.#options.touched();
        });
      },
      failed: (error) => process.run(() => listener.failed(error)),
    });
  }

  write(write: DiskWrite): void {
    this.#check(() => this.#options.watch.wrote(write));
    this.#disk.write(write);
  }

  read(from: number, maxBytes: number): Promise<DiskRead> {
    return this.#disk.read(from, maxBytes);
  }

  async truncatePrefix(firstKept: number): Promise<void> {
    await this.#disk.truncatePrefix(firstKept);
    if (this.#options.process.isOver) return;
    this.#check(() => this.#options.cutPrefix(this.#disk.start));
    this.#options.touched();
  }

  close(): Promise<void> {
    return this.#disk.close();
  }

  #check(check: () => void): void {
    try {
      check();
    } catch (error) {
      this.#options.violated(error);
    }
  }
}
