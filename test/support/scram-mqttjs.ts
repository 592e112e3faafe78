/** MQTT.js that comes in by SCRAM-SHA-256, where its makers left room for an exchange of AUTH. */

import { connect, type IClientOptions, type MqttClient } from 'mqtt';
import type { IAuthPacket } from 'mqtt-packet';

import { METHOD, ScramClient } from './scram-client.ts';

export interface ScramMqttJs {
  readonly client: MqttClient;
  /** What CONNACK and AUTH 0x00 had as authentication data. */
  readonly signatures: string[];
  scram: ScramClient;
}

/** Connected; rejects with the error of CONNACK, and `made` gets the client in any case. */
export async function scramMqttJs(
  url: string,
  who: { readonly user: string; readonly password: string },
  { made, ...options }: IClientOptions & { readonly made: (client: MqttClient) => void },
): Promise<ScramMqttJs> {
  const scram = new ScramClient(who);
  const client = connect(url, {
    protocolVersion: 5,
    reconnectPeriod: 0,
    manualConnect: true,
    properties: { authenticationMethod: METHOD, authenticationData: scram.first },
    ...options,
  });
  made(client);
  const told: ScramMqttJs = { client, signatures: [], scram };
  client.handleAuth = (packet: IAuthPacket, callback): void => {
    const data = packet.properties?.authenticationData as Buffer;
    if (packet.reasonCode === 0) {
      told.signatures.push(data.toString());
      callback();
      return;
    }
    const authenticationData = told.scram.final(data);
    const properties = { authenticationMethod: METHOD, authenticationData };
    callback(undefined, { cmd: 'auth', reasonCode: 0x18, properties });
  };
  client.once('connect', ({ properties }) => {
    told.signatures.push(String(properties?.authenticationData));
  });
  await new Promise<void>((resolve, reject) => {
    client.once('connect', () => resolve());
    client.once('error', reject);
    client.connect();
  });
  return told;
}
