// What some edges of the generated shop carry besides TCP: datagrams with questions in them, and requests of HTTP.
import { histogram } from './histogram.mjs';

const ASKS = ['checkoutservice', 'emailservice'];
const REQUESTS = [
  ['loadgenerator', 'frontend'],
  ['frontend', 'checkoutservice'],
];

/** Whose requests are calls of gRPC. */
const CALLS = ['frontend', 'checkoutservice'];

const goes = (edge, [source, dest]) => edge.source.workload === source && edge.dest.workload === dest;

/** Adds to a row what its edge carries besides TCP. */
export function tellExchanges(row, edge, requests, bytes, rtt, sees) {
  if (goes(edge, ASKS)) {
    Object.assign(row.values, datagrams(bytes, sees));
    tellQuestions(row, Math.round(requests), rtt, sees);
  }
  if (REQUESTS.some((pair) => goes(edge, pair))) tellRequests(row, Math.round(requests), rtt, sees);
  if (goes(edge, CALLS)) tellCalls(row, Math.round(requests));
}

function datagrams(bytes, sees) {
  const count = Math.round(bytes / 4000);
  return {
    'udp.bytes.sent': sees.source ? count * 180 : null,
    'udp.bytes.received': sees.dest ? count * 180 : null,
    'udp.bytes': count * 180,
    'udp.datagrams.sent': sees.source ? count : null,
    'udp.datagrams.received': sees.dest ? count : null,
    'udp.datagrams': count,
    'udp.drops': sees.dest ? 0 : null,
    'udp.active': sees.source ? 10 : null,
  };
}

function tellQuestions(row, asked, rtt, sees) {
  const missing = Math.floor(asked / 12);
  Object.assign(row.values, {
    'dns.requests': asked,
    'dns.responses': asked - missing,
    'dns.timeouts': sees.source ? missing : null,
    'dns.servfail': Math.floor(asked / 20),
    'dns.refused': 0,
    'dns.errors_other': 0,
    'dns.nxdomain': Math.floor(asked / 4),
    'dns.active': sees.source ? 10 : null,
  });
  tellTimes(row, 'dns', rtt, 4e-4, asked - missing, sees);
}

function tellRequests(row, asked, rtt, sees) {
  const failed = Math.floor(asked / 25);
  const absent = Math.floor(asked / 15);
  Object.assign(row.values, {
    'http.requests': asked,
    'http.status_2xx': asked - failed - absent,
    'http.status_3xx': 0,
    'http.status_4xx': absent,
    'http.status_5xx': failed,
    'http.status_other': 0,
    'http.unanswered': sees.source ? 0 : null,
    'http.active': sees.source ? 20 : null,
  });
  tellTimes(row, 'http', rtt, 9e-3, asked, sees);
}

function tellCalls(row, called) {
  const gone = Math.floor(called / 30);
  Object.assign(row.values, {
    'grpc.requests': called,
    'grpc.status_ok': called - gone,
    'grpc.status_unavailable': gone,
    'grpc.status_deadline': 0,
    'grpc.status_other': 0,
    'grpc.status_none': 0,
  });
}

/** The server's own time, and at the client that and the way. */
function tellTimes(row, protocol, rtt, serves, answered, sees) {
  if (sees.source) row.hists[`${protocol}.client.duration`] = histogram(serves + rtt, answered);
  if (sees.dest) row.hists[`${protocol}.server.duration`] = histogram(serves, answered);
}

const ASKED = [
  ['emailservice.shop.svc.cluster.local', 4812, 0, 0],
  ['smtp.example.com', 377, 0, 12],
  ['smtp.example.com.shop.svc.cluster.local', 377, 377, 0],
  ['', 64, 3, 0],
];

/** What `/dns/names` says: the same of every workload and time. */
export function asked(parameters) {
  const [from, to, workload] = ['from', 'to', 'workload'].map((name) => parameters.get(name));
  const names = ASKED.map(([name, answers, nxdomain, failures]) => ({ namespace: 'shop', workload, name, answers, nxdomain, failures }));
  return { from, to, kept_from: from, names, names_total: names.length + 3 };
}
