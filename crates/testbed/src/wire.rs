//! Builds a topology in the kernel: namespaces, virtual cables, addresses, routes. The scripts are pure text; [`build`] runs
//! them with `ip` and `ethtool`.
//!
//! ```text
//! pod ── node ── zone ── core ── zone ── node ── pod        mgmt hangs on the core
//!                 │ ▲
//!                relay: every packet from a node to elsewhere passes it once, at the sender's zone
//! ```
//! Links between routers have link-local addresses only (`fe80::1` above, `fe80::2` below); IPv4 is routed over them too.

use crate::effect::{UPLINK, node_interface, pod_interface, zone_interface};
use crate::netns::{self, NetnsError, in_netns, sysctl, tool};
use crate::topology::{MGMT_IPV4, MGMT_IPV6, Topology};
use std::fmt::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The relay's device in each zone's namespace.
pub const RELAY_DEVICE: &str = "relay0";

/// Packets that may wait for the relay to read them: 5,000 are a quarter of a second of 20,000 packets/s.
const RELAY_QUEUE_PACKETS: u32 = 5_000;

/// Routing table that leads into the relay.
const RELAY_TABLE: u32 = 100;

/// Namespaces are set up this many at a time: the kernel's network lock makes more useless.
const WORKERS: usize = 4;

/// Names of a run's namespaces; all begin with the run's prefix.
#[derive(Clone, Debug)]
pub struct Names {
    prefix: String,
}

impl Names {
    pub fn new(prefix: &str) -> Names {
        Names { prefix: prefix.to_string() }
    }

    pub fn core(&self) -> String {
        format!("{}core", self.prefix)
    }

    pub fn mgmt(&self) -> String {
        format!("{}mgmt", self.prefix)
    }

    pub fn zone(&self, topology: &Topology, zone: usize) -> String {
        format!("{}zone-{}", self.prefix, topology.spec.zones[zone])
    }

    pub fn node(&self, topology: &Topology, node: usize) -> String {
        format!("{}{}", self.prefix, topology.nodes[node].name)
    }

    pub fn pod(&self, topology: &Topology, pod: usize) -> String {
        format!("{}{}", self.prefix, topology.pods[pod].name)
    }
}

/// One namespace and what must be done inside it.
#[derive(Default)]
pub(crate) struct Space {
    pub name: String,
    pub forwards: bool,
    /// Interfaces that stand in it already; each gets `address` as its link-local address.
    pub interfaces: Vec<Interface>,
    /// `ip -batch` lines, for either family and for IPv6 only (rules).
    pub lines: String,
    pub lines_ipv6: String,
}

pub(crate) struct Interface {
    pub name: String,
    /// The upper end of a cable (`fe80::1`), else the lower.
    pub is_upper: bool,
}

impl Space {
    pub fn new(name: String, forwards: bool) -> Space {
        Space { name, forwards, ..Space::default() }
    }

    pub fn line(&mut self, line: std::fmt::Arguments<'_>) {
        writeln!(self.lines, "{line}").expect("writing to a string");
    }

    /// An address for IPv4 and one for IPv6 on `device`.
    pub fn addresses(&mut self, ipv4: std::net::Ipv4Addr, ipv6: std::net::Ipv6Addr, device: &str) {
        self.line(format_args!("addr add {ipv4}/32 dev {device}"));
        self.line(format_args!("addr add {ipv6}/128 dev {device} nodad"));
    }

    /// Everything not known here goes up.
    pub fn default_route(&mut self, device: &str, source: Option<(std::net::Ipv4Addr, std::net::Ipv6Addr)>) {
        let (src4, src6) = source.map(|(v4, v6)| (format!(" src {v4}"), format!(" src {v6}"))).unwrap_or_default();
        self.line(format_args!("route add 0.0.0.0/0 via inet6 fe80::1 dev {device}{src4}"));
        self.line(format_args!("route add ::/0 via fe80::1 dev {device}{src6}"));
    }

    /// These prefixes are below `device`.
    pub fn route_down(&mut self, ipv4: &str, ipv6: &str, device: &str) {
        self.line(format_args!("route add {ipv4} via inet6 fe80::2 dev {device}"));
        self.line(format_args!("route add {ipv6} via fe80::2 dev {device}"));
    }

    /// A device through which `relay` takes packets, and the table that leads there.
    pub fn relay_device(&mut self) {
        self.line(format_args!("tuntap add dev {RELAY_DEVICE} mode tun"));
        self.line(format_args!("link set dev {RELAY_DEVICE} addrgenmode none txqueuelen {RELAY_QUEUE_PACKETS} up"));
        self.line(format_args!("route add 0.0.0.0/0 dev {RELAY_DEVICE} table {RELAY_TABLE}"));
        self.line(format_args!("route add ::/0 dev {RELAY_DEVICE} table {RELAY_TABLE}"));
    }

    /// What comes in by `device` goes through the relay.
    pub fn relay_from(&mut self, device: &str) {
        self.line(format_args!("rule add iif {device} lookup {RELAY_TABLE}"));
        writeln!(self.lines_ipv6, "rule add iif {device} lookup {RELAY_TABLE}").expect("writing to a string");
    }

    fn set_up(&self) -> Result<(), NetnsError> {
        self.sysctls()?;
        let mut lines = "link set lo up\n".to_string();
        for interface in &self.interfaces {
            let Interface { name, is_upper } = interface;
            let address = if *is_upper { "fe80::1" } else { "fe80::2" };
            writeln!(lines, "link set dev {name} addrgenmode none up").expect("writing to a string");
            writeln!(lines, "addr add {address}/64 dev {name} nodad").expect("writing to a string");
        }
        tool("ip", &["-batch", "-"], &(lines + &self.lines))?;
        if !self.lines_ipv6.is_empty() {
            tool("ip", &["-6", "-batch", "-"], &self.lines_ipv6)?;
        }
        // One packet on the wire is one segment, so that one drop is one lost segment.
        for interface in &self.interfaces {
            tool("ethtool", &["-K", &interface.name, "tso", "off", "gso", "off", "gro", "off"], "")?;
        }
        Ok(())
    }

    fn sysctls(&self) -> Result<(), NetnsError> {
        for scope in ["all", "default"] {
            sysctl(&format!("net/ipv4/conf/{scope}/rp_filter"), "0")?;
            sysctl(&format!("net/ipv6/conf/{scope}/accept_dad"), "0")?;
            sysctl(&format!("net/ipv6/conf/{scope}/accept_ra"), "0")?;
            sysctl(&format!("net/ipv6/conf/{scope}/router_solicitations"), "0")?;
            if self.forwards {
                sysctl(&format!("net/ipv6/conf/{scope}/forwarding"), "1")?;
            }
        }
        if self.forwards {
            sysctl("net/ipv4/ip_forward", "1")?;
        }
        // A connection does not start with what an earlier one learnt during a fault.
        sysctl("net/ipv4/tcp_no_metrics_save", "1")
    }
}

/// Namespaces and the cables between them.
#[derive(Default)]
pub(crate) struct Plan {
    pub spaces: Vec<Space>,
    cables: String,
}

impl Plan {
    /// A cable from `lower` (interface `lower_name`) to `upper` (interface `upper_name`), both given by their place in `spaces`.
    pub fn cable(&mut self, (lower, lower_name): (usize, &str), (upper, upper_name): (usize, &str)) {
        let (below, above) = (&self.spaces[lower].name, &self.spaces[upper].name);
        writeln!(self.cables, "link add {lower_name} netns {below} type veth peer name {upper_name} netns {above}").expect("writing to a string");
        self.spaces[lower].interfaces.push(Interface { name: lower_name.to_string(), is_upper: false });
        self.spaces[upper].interfaces.push(Interface { name: upper_name.to_string(), is_upper: true });
    }
}

/// The whole company as namespaces and cables.
pub(crate) fn plan(topology: &Topology, names: &Names) -> Plan {
    let mut plan = Plan::default();
    let mut add = |space: Space| {
        plan.spaces.push(space);
        plan.spaces.len() - 1
    };
    let core = add(Space::new(names.core(), true));
    let mgmt = add(Space::new(names.mgmt(), false));
    let zones: Vec<usize> = (0..topology.spec.zones.len()).map(|z| add(Space::new(names.zone(topology, z), true))).collect();
    let nodes: Vec<usize> = (0..topology.nodes.len()).map(|n| add(Space::new(names.node(topology, n), true))).collect();
    let pods: Vec<usize> = (0..topology.pods.len()).map(|p| add(Space::new(names.pod(topology, p), false))).collect();

    plan.cable((mgmt, "eth0"), (core, "mgmt"));
    plan.spaces[mgmt].addresses(MGMT_IPV4, MGMT_IPV6, "eth0");
    plan.spaces[mgmt].default_route("eth0", None);
    plan.spaces[core].route_down(&format!("{MGMT_IPV4}/32"), &format!("{MGMT_IPV6}/128"), "mgmt");
    for (z, &zone) in zones.iter().enumerate() {
        plan.cable((zone, UPLINK), (core, &zone_interface(z)));
        plan.spaces[zone].default_route(UPLINK, None);
        plan.spaces[zone].relay_device();
        let octet = z + 1;
        plan.spaces[core].route_down(&format!("10.{octet}.0.0/16"), &format!("fd00:e5:{octet:x}::/48"), &zone_interface(z));
        // Management's answers to a zone's agents pass the relay as well: delay in both directions, as for everybody.
        plan.spaces[zone].line(format_args!("rule add iif {UPLINK} from {MGMT_IPV4}/32 lookup {RELAY_TABLE}"));
        writeln!(plan.spaces[zone].lines_ipv6, "rule add iif {UPLINK} from {MGMT_IPV6}/128 lookup {RELAY_TABLE}").expect("writing to a string");
    }
    for (n, node) in topology.nodes.iter().enumerate() {
        let (zone, octets) = (zones[node.zone], (node.zone + 1, n + 1));
        plan.cable((nodes[n], UPLINK), (zone, &node_interface(n)));
        plan.spaces[nodes[n]].addresses(node.ipv4, node.ipv6, "lo");
        plan.spaces[nodes[n]].default_route(UPLINK, Some((node.ipv4, node.ipv6)));
        let (ipv4, ipv6) = (format!("10.{}.{}.0/24", octets.0, octets.1), format!("fd00:e5:{:x}:{:x}::/64", octets.0, octets.1));
        plan.spaces[zone].route_down(&ipv4, &ipv6, &node_interface(n));
        plan.spaces[zone].relay_from(&node_interface(n));
    }
    for (p, pod) in topology.pods.iter().enumerate() {
        plan.cable((pods[p], "eth0"), (nodes[pod.node], &pod_interface(p)));
        plan.spaces[pods[p]].addresses(pod.ipv4, pod.ipv6, "eth0");
        plan.spaces[pods[p]].default_route("eth0", None);
        plan.spaces[nodes[pod.node]].route_down(&format!("{}/32", pod.ipv4), &format!("{}/128", pod.ipv6), &pod_interface(p));
    }
    plan
}

/// Makes the namespaces and cables and sets all of them up.
///
/// # Errors
/// The first failure; what exists by then is the caller's to delete (all names begin with the run's prefix).
pub(crate) fn build(plan: &Plan) -> Result<(), NetnsError> {
    let spaces: String = plan.spaces.iter().map(|s| format!("netns add {}\n", s.name)).collect();
    tool("ip", &["-batch", "-"], &(spaces + &plan.cables))?;
    let next = AtomicUsize::new(0);
    let failed: Mutex<Option<NetnsError>> = Mutex::new(None);
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                while let Some(space) = plan.spaces.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let done = in_netns(&netns::path_of(&space.name), || space.set_up());
                    if let Err(error) = done.and_then(|inner| inner) {
                        let error = NetnsError::SetUp { netns: space.name.clone(), source: Box::new(error) };
                        failed.lock().unwrap_or_else(|e| e.into_inner()).get_or_insert(error);
                        return;
                    }
                }
            });
        }
    });
    match failed.into_inner().unwrap_or_else(|e| e.into_inner()) {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Spec;

    #[test]
    fn interface_names_fit_the_kernel_s_fifteen_characters() {
        for name in Spec::BUILT_IN {
            let topology = Topology::new(Spec::built_in(name).expect(name)).expect(name);
            let plan = plan(&topology, &Names::new("es0-"));
            assert!(plan.spaces.iter().flat_map(|s| &s.interfaces).all(|i| i.name.len() <= 15));
        }
    }

    #[test]
    fn every_namespace_has_its_own_name() {
        let topology = Topology::new(Spec::built_in("shop").expect("built in")).expect("sound");
        let plan = plan(&topology, &Names::new("es0-"));
        let names: std::collections::HashSet<_> = plan.spaces.iter().map(|s| &s.name).collect();
        assert_eq!(names.len(), plan.spaces.len());
        assert_eq!(names.len(), 1 + 1 + 3 + 6 + topology.pods.len());
    }
}
