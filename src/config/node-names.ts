/**
 * Names of nodes and of clusters: what they may be. They stand in certificates, in logs and on the
 * wire between nodes, so one rule holds for all of them. Pure.
 */

const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;

export const NODE_NAME_RULE =
  '1 to 64 letters, digits, `.`, `_` and `-`, the first a letter or digit';

function problem(name: string): string | undefined {
  return NAME.test(name) ? undefined : `must be ${NODE_NAME_RULE.replaceAll('`', "'")}`;
}

export const nodeIdProblem = problem;
export const clusterIdProblem = problem;
