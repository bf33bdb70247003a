//! What the kernel itself says.

use edgescope_testbed::netns::{in_netns, path_of};
use std::fs;

/// A counter of the TCP of a network namespace, as `nstat` prints it without its `Tcp` or `TcpExt` in front.
pub fn tcp_counter(netns: &str, table: &str, name: &str) -> u64 {
    let read = || -> Result<u64, String> {
        // Of the calling thread's namespace, unlike /proc/net.
        let text = ["snmp", "netstat"].map(|f| fs::read_to_string(format!("/proc/thread-self/net/{f}")).unwrap_or_default()).concat();
        find(&text, table, name).ok_or_else(|| format!("no counter {table} {name}"))
    };
    in_netns(&path_of(netns), read).expect("the namespace exists").expect("the kernel has the counter")
}

/// `TcpRetransSegs`: everything sent again, SYNs and SYN-ACKs included.
pub fn retransmitted_segments(netns: &str) -> u64 {
    tcp_counter(netns, "Tcp", "RetransSegs")
}

/// Tables are two lines each: names, then values.
fn find(text: &str, table: &str, name: &str) -> Option<u64> {
    let mut lines = text.lines();
    while let (Some(names), Some(values)) = (lines.next(), lines.next()) {
        let (head, names) = names.split_once(':')?;
        let (_, values) = values.split_once(':')?;
        if head == table
            && let Some((_, value)) = names.split_whitespace().zip(values.split_whitespace()).find(|(n, _)| *n == name)
        {
            return value.parse().ok();
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::find;

    #[test]
    fn a_counter_is_found_in_its_own_table() {
        let text = "Ip: A B\nIp: 1 2\nTcp: A RetransSegs\nTcp: 3 4\n";
        assert_eq!(find(text, "Tcp", "RetransSegs"), Some(4));
        assert_eq!(find(text, "Tcp", "A"), Some(3));
        assert_eq!(find(text, "Ip", "RetransSegs"), None);
    }
}
