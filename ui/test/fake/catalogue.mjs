// The catalogue as the real server tells it, cut to what the interface reads.
import { DIMENSIONS } from './query.mjs';

const signal = (name, kind, ends, unit, brief) => ({ name, kind, ends, unit, brief });
const derived = (name, unit, brief) => ({ name, unit, brief });

export const catalogue = {
  dimensions: DIMENSIONS,
  signals: [
    signal('tcp.bytes', 'sum', 'both', 'bytes', 'payload bytes: acknowledged at the sender, received in order at the receiver'),
    signal('tcp.segments', 'sum', 'both', 'count', 'segments with payload, retransmissions included'),
    signal('tcp.retrans', 'sum', 'sender', 'count', 'segments sent again, those of SYN and SYN-ACK included'),
    signal('tcp.retrans_syn', 'sum', 'sender', 'count', 'SYN segments sent again'),
    signal('tcp.retrans_synack', 'sum', 'sender', 'count', 'SYN-ACK segments sent again'),
    signal('tcp.retrans_bytes', 'sum', 'sender', 'bytes', 'payload bytes sent again'),
    signal('tcp.rto', 'sum', 'sender', 'count', 'retransmission time-outs'),
    signal('tcp.retrans_spurious', 'sum', 'sender', 'count', 'retransmissions that the receiver reported as duplicates (DSACK)'),
    signal('tcp.out_of_order', 'sum', 'receiver', 'count', 'segments that arrived out of order'),
    signal('tcp.rtt', 'histogram', 'sender', 'seconds', 'round-trip time, one raw sample a round trip'),
    signal('tcp.rtt_max', 'max', 'sender', 'seconds', 'longest round-trip time; delayed acknowledgements sit in it'),
    signal('tcp.rtt_min', 'min', 'sender', 'seconds', 'shortest round-trip time'),
    signal('tcp.srtt', 'sum', 'sender', 'seconds', 'sum of smoothed round-trip times read at window ends'),
    signal('tcp.srtt_samples', 'sum', 'sender', 'count', 'number of smoothed round-trip times in tcp.srtt'),
    signal('tcp.active', 'sum', 'sender', 'socket_seconds', 'open connections, as socket-seconds'),
    signal(
      'tcp.stalled',
      'sum',
      'sender',
      'socket_seconds',
      'connections with unacknowledged data and RTO backoff >= 2 or no ACK for 3 s, as socket-seconds',
    ),
    signal('tcp.blocked_rwnd', 'sum', 'sender', 'seconds', "time blocked by the receiver's window"),
    signal('tcp.blocked_sndbuf', 'sum', 'sender', 'seconds', 'time blocked by the send buffer'),
    signal('tcp.busy', 'sum', 'sender', 'seconds', 'time with data in flight or to send'),
    signal('tcp.connects', 'sum', 'sender', 'count', 'connections attempted'),
    signal('tcp.connects_established', 'sum', 'sender', 'count', 'attempts that succeeded'),
    signal(
      'tcp.connect_timeouts',
      'sum',
      'sender',
      'count',
      'attempts that timed out, or that the client gave up after a SYN retransmission',
    ),
    signal('tcp.connects_cancelled', 'sum', 'sender', 'count', 'attempts closed by the client before any retransmission'),
    signal('tcp.connects_refused', 'sum', 'sender', 'count', 'attempts answered by a reset'),
    signal('tcp.connects_unreachable', 'sum', 'sender', 'count', 'attempts answered by ICMP unreachable, or without a route'),
    signal('tcp.connects_reset', 'sum', 'sender', 'count', 'attempts that failed by another error'),
    signal('tcp.handshake', 'histogram', 'sender', 'seconds', 'time from SYN to established, at the client'),
    signal('tcp.accepts', 'sum', 'receiver', 'count', 'connections established at the server'),
    signal('tcp.closes', 'sum', 'sender', 'count', 'connections closed'),
    signal('tcp.resets', 'sum', 'both', 'count', 'reset segments, from source to destination'),
    signal('tcp.accept_overflow', 'sum', 'receiver', 'count', "connections dropped since the server's accept queue was full"),
  ],
  derived: [
    derived('tcp.retrans_rate', 'ratio', 'data segments sent again ÷ data segments sent'),
    derived('tcp.connect_timeout_rate', 'ratio', 'connect time-outs ÷ attempts'),
    derived('tcp.connect_failure_rate', 'ratio', 'attempts that timed out, were refused, unreachable or reset ÷ attempts'),
    derived('tcp.stalled_share', 'ratio', 'stalled socket-seconds ÷ open socket-seconds'),
    derived('tcp.rwnd_share', 'ratio', "time blocked by the receiver's window ÷ busy time"),
    derived('tcp.srtt_mean', 'seconds', 'mean smoothed round-trip time'),
    derived('tcp.path_loss', 'ratio', 'data segments sent but not received ÷ sent; over a minute or more, where both ends have an agent'),
  ],
};
