/**
 * A broker whose clients are authorized by a service of the test's own, which says what the test
 * wants, when it wants: of rules, the world is `open/#` for all and `closed/#` for nobody.
 */

import type { Access } from '../../src/access/access.ts';
import type { Post } from '../../src/access/callout.ts';
import type { VerdictSettings } from '../../src/access/verdicts.ts';
import { AccessFiles } from './access-files.ts';
import { FakeQueueClient } from './fake-queue-client.ts';
import { MqttServer, type RawClient, until } from './mqtt-server.ts';

export type Posted = Awaited<ReturnType<Post>>;

interface Question {
  readonly action: string;
  readonly topic: string;
  readonly user: string | null;
  readonly client_id: string;
}

export const say = (result: unknown): Posted => ({ text: JSON.stringify({ result }) });

export class AuthorizedWorld {
  readonly files: AccessFiles;
  access: Access;
  server: MqttServer;
  nowMs = 0;
  readonly asked: Question[] = [];
  /** What the service says. */
  serve: (question: Question) => Posted | Promise<Posted> = () => say('allow');
  /** Questions that are held until `answer`. */
  readonly held: ((posted: Posted) => void)[] = [];
  readonly hold = (): Promise<Posted> =>
    new Promise((resolve) => {
      this.held.push(resolve);
    });

  private constructor(files: AccessFiles, access: Access, server: MqttServer) {
    this.files = files;
    this.access = access;
    this.server = server;
  }

  static async start(
    settings: Partial<VerdictSettings> = {},
    rules: readonly string[] = ['allow * publish,subscribe open/#', 'deny * * closed/#'],
  ): Promise<AuthorizedWorld> {
    const files = await AccessFiles.make();
    await files.user('ann', 'tea');
    await files.rule(...rules);
    const made: { world?: AuthorizedWorld } = {};
    const verdicts: VerdictSettings = {
      url: new URL('http://127.0.0.1/authorize'),
      timeoutMs: 1000,
      post: async (body) => (made.world as AuthorizedWorld).#posted(body),
      maxAtATime: 100,
      maxWaiting: 100,
      failures: 1000,
      pauseMs: 5000,
      allowedMs: 1000,
      deniedMs: 100,
      maxKept: 1000,
      ...settings,
    };
    const callout = { ca: undefined, bearer: undefined };
    const paths = { users: files.users, rules: files.rules, callout };
    const now = (): number => made.world?.nowMs ?? 0;
    const access = await files.read({ files: paths, verdicts, anonymous: true, now });
    const queues = new FakeQueueClient('orders', 'mqtt');
    const server = await new MqttServer({ access }, {}, queues).start();
    made.world = new AuthorizedWorld(files, access, server);
    return made.world;
  }

  get topics(): string[] {
    return this.asked.map(({ action, topic }) => `${action} ${topic}`);
  }

  async answer(result: string): Promise<void> {
    await until(() => this.held.length > 0);
    this.held.shift()?.(say(result));
  }

  /** One that hears everything, by a rule. */
  async watcher(filter = 'open/#'): Promise<RawClient> {
    const client = await this.server.client();
    await client.subscribe(filter, 0);
    return client;
  }

  async stop(): Promise<void> {
    for (const each of this.held) each('error');
    await this.server.stop();
    await this.files.remove();
  }

  #posted(body: string): Posted | Promise<Posted> {
    const question = JSON.parse(body) as Question;
    this.asked.push(question);
    return this.serve(question);
  }
}
