/** How ends get their names, in words; and which names are only addresses. */

/** What `resolution_type` means. Of a newer server's own ways this page knows none: they are told as they are. */
const FOUND_BY: Record<string, string> = {
  kubernetes: 'the Kubernetes API: its pod',
  kubernetes_service: 'the Kubernetes API: a service’s address',
  kubernetes_node: 'the Kubernetes API: a node’s address',
  rule: 'a static rule of the configuration',
  systemd: 'the systemd unit of its sockets',
  process: 'the process that owns its sockets',
  node: 'the node: several workloads share the address',
  network: 'a list of the configuration (identity.networks)',
  aws: 'AWS’s published list (identity.networks)',
  gcp: 'Google’s published list (identity.networks)',
  azure: 'Azure’s published list (identity.networks)',
  asn: 'a database: whose network it is (identity.networks)',
  prefix: 'nothing: a public address, shown by its prefix',
  ip: 'nothing: it keeps its address',
  loopback: 'nothing: another one on each node',
  unknown: 'nothing: it stands for ends that are not told apart',
};

export const foundBy = (resolutionType: string): string => FOUND_BY[resolutionType] ?? resolutionType;

const V4 = String.raw`\d{1,3}(?:\.\d{1,3}){3}`;
const V6 = '[0-9a-fA-F]{0,4}(?::[0-9a-fA-F]{0,4}){2,7}';
const ADDRESS = new RegExp(`^(?:${V4}|${V6})(?:/\\d{1,3})?$`);

/** Whether what stands for a name is none: nothing, an address, or a block of addresses. */
export const isUnnamed = (name: string): boolean => name === '' || ADDRESS.test(name);

/** `10.0.0.5:443`, `[fd00::5]:443`; the address alone where no port is told. */
export function endPoint(address: string, port?: string | number | null): string {
  if (!port) return address;
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}
