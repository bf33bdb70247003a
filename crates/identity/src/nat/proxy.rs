//! Userland proxies: a process of the node that accepts at one of its ports and opens a second connection to a container, by the arguments it was started with.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// What a process that forwards one port to one container says of itself. The proxy of Docker, one process a published port, is told by its arguments alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Proxy {
    pub is_udp: bool,
    /// Where it accepts; the unspecified address stands for all of its family (`::`: of both).
    pub host: SocketAddr,
    /// Where its second connection goes.
    pub container: SocketAddr,
}

impl Proxy {
    /// The name of the process.
    pub const PROCESS: &str = "docker-proxy";
    /// Who may have opened the port on its behalf: Docker from version 28 on hands it over.
    pub const LENDER: &str = "dockerd";

    /// Reads `/proc/PID/cmdline`. `None` if it forwards neither TCP nor UDP, or not to an address of a container. The text is hostile: a process may write there what
    /// it likes.
    pub fn of_arguments(line: &[u8]) -> Option<Self> {
        let mut words = line.split(|byte| *byte == 0).skip(1).map(std::str::from_utf8);
        let (mut protocol, mut host, mut container) = ("tcp", (IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0), (None, 0));
        while let Some(Ok(word)) = words.next() {
            let Some(flag) = word.strip_prefix("--").or_else(|| word.strip_prefix('-')) else { break };
            let (name, given) = flag.split_once('=').map_or((flag, None), |(name, value)| (name, Some(value)));
            if !["proto", "host-ip", "host-port", "container-ip", "container-port"].contains(&name) {
                // The others have no value of their own.
                continue;
            }
            let value = given.or_else(|| words.next()?.ok())?;
            match name {
                "proto" => protocol = value,
                "host-ip" => host.0 = value.parse::<IpAddr>().ok()?.to_canonical(),
                "host-port" => host.1 = value.parse().ok()?,
                "container-ip" => container.0 = Some(value.parse::<IpAddr>().ok()?.to_canonical()),
                _ => container.1 = value.parse().ok()?,
            }
        }
        let is_udp = match protocol {
            "tcp" => false,
            "udp" => true,
            _ => return None,
        };
        let at = container.0.filter(|at| !at.is_unspecified() && !at.is_loopback() && !at.is_multicast())?;
        let is_whole = host.1 != 0 && container.1 != 0;
        is_whole.then(|| Self { is_udp, host: SocketAddr::from(host), container: SocketAddr::new(at, container.1) })
    }

    /// How closely its port's address is this local address of a socket: 2 the same, 1 of any; `None` if it is another's.
    pub fn accepts_at(&self, local: IpAddr) -> Option<u8> {
        match self.host.ip() {
            ip if ip == local => Some(2),
            IpAddr::V4(ip) if ip.is_unspecified() && local.is_ipv4() => Some(1),
            // Versions before 26 listen for both families there.
            IpAddr::V6(ip) if ip.is_unspecified() => Some(u8::from(local.is_ipv6())),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(line: &str) -> Option<Proxy> {
        Proxy::of_arguments(line.replace(' ', "\0").as_bytes())
    }

    #[test]
    fn arguments_tell_where_a_proxy_accepts_and_where_it_goes() {
        let whole = "/usr/bin/docker-proxy -proto tcp -host-ip 0.0.0.0 -host-port 8080 -container-ip 172.17.0.2 -container-port 80 ";
        let expected = Proxy { is_udp: false, host: "0.0.0.0:8080".parse().unwrap(), container: "172.17.0.2:80".parse().unwrap() };
        assert_eq!(of(whole), Some(expected));
        assert_eq!(of("p --host-port=8080 -use-listen-fd --container-ip=172.17.0.2 --container-port 80"), Some(expected), "as Go reads them");
        let sixth = of("p -proto udp -host-ip :: -host-port 53 -container-ip fd00::2 -container-port 5353").unwrap();
        assert_eq!((sixth.is_udp, sixth.host, sixth.container), (true, "[::]:53".parse().unwrap(), "[fd00::2]:5353".parse().unwrap()));
    }

    #[test]
    fn what_names_no_container_is_no_proxy() {
        let wrong = [
            "",
            "p",
            "p -proto sctp -host-port 1 -container-ip 172.17.0.2 -container-port 80",
            "p -proto tcp -host-port 1 -container-ip 127.0.0.1 -container-port 80",
            "p -proto tcp -host-port 1 -container-ip 0.0.0.0 -container-port 80",
            "p -proto tcp -host-port 1 -container-ip 172.17.0.2 -container-port 80000",
            "p -proto tcp -host-port 0 -container-ip 172.17.0.2 -container-port 80",
            "p -host-port 1 -container-ip 172.17.0.2 -container-port",
            "p -host-port 1 -container-port 80",
            "p and -host-port 1 -container-ip 172.17.0.2 -container-port 80",
        ];
        wrong.iter().for_each(|line| assert_eq!(of(line), None, "{line}"));
    }

    #[test]
    fn the_port_is_that_of_its_address() {
        let at = |host: &str| Proxy { is_udp: false, host: host.parse().unwrap(), container: "172.17.0.2:80".parse().unwrap() };
        let accepts = |host: &str, local: &str| at(host).accepts_at(local.parse().unwrap());
        assert_eq!((accepts("10.0.0.1:80", "10.0.0.1"), accepts("10.0.0.1:80", "10.0.0.2")), (Some(2), None));
        assert_eq!((accepts("0.0.0.0:80", "10.0.0.2"), accepts("0.0.0.0:80", "fd00::1")), (Some(1), None));
        assert_eq!((accepts("[::]:80", "fd00::1"), accepts("[::]:80", "10.0.0.2")), (Some(1), Some(0)));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]
        /// Any bytes are read to their end, and only a whole proxy comes of them.
        #[test]
        fn no_line_is_too_strange(noise in prop::collection::vec(any::<u8>(), 0..60), at in any::<prop::sample::Index>()) {
            let mut line = b"p\0-host-port\08080\0-container-ip\0172.17.0.2\0-container-port\080\0".to_vec();
            let at = at.index(line.len());
            line.splice(at..at, noise);
            if let Some(proxy) = Proxy::of_arguments(&line) {
                prop_assert!(proxy.host.port() != 0 && proxy.container.port() != 0 && !proxy.container.ip().is_unspecified());
            }
        }
    }
}
