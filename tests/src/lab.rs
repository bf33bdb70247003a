//! Hosts joined by a router, and a plain host with a neighbour, as the tests want them.

use crate::agent::wait_until_at_work;
use crate::{Actor, Agent, AgentSpec, Place, Scene, Server, ServerSpec};
use edgescope_testbed::Lab;
use edgescope_testbed::netns::{self, in_netns, tool};
use serde_json::json;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

/// Hosts with these names behind one router; `delay_us` one way between any two, through a relay.
pub fn lab(traffic: &str, hosts: &[&str], delay_us: Option<u32>) -> Lab {
    let builder = hosts.iter().fold(Lab::builder(vec![traffic.into(), "testbed".into()]), |builder, host| builder.host(host));
    let builder = match delay_us {
        Some(delay_us) => builder.delay_us(delay_us),
        None => builder,
    };
    builder.start().expect("a lab can be made: it needs root, iproute2, nftables and ethtool")
}

/// Name of a host's namespace, as identity rules and scopes want it.
pub fn netns_name(lab: &Lab, host: &str) -> String {
    let path = lab.netns(host).expect("the lab has the host");
    path.file_name().expect("a namespace has a name").to_string_lossy().into_owned()
}

/// A host's address of either family, with a port.
pub fn at(lab: &Lab, host: &str, is_ipv6: bool, port: u16) -> SocketAddr {
    let ip = if is_ipv6 { lab.ipv6(host) } else { lab.ipv4(host) };
    SocketAddr::new(ip.expect("the lab has the host"), port)
}

/// A namespace joined to the machine's own by one cable. Dropping it removes both ends.
pub struct Neighbour {
    name: String,
    /// Addresses of this machine's end and of the neighbour's.
    pub here: IpAddr,
    pub there: IpAddr,
}

impl Neighbour {
    /// A /30 of 10.251.0.0/16, chosen at random.
    pub fn new(id: &str) -> Neighbour {
        let (tag, net) = (rand::random::<u32>() & 0xff_ffff, rand::random::<u16>() & !3);
        let [high, low] = net.to_be_bytes();
        let neighbour = Neighbour {
            name: format!("edgescope-{id}"),
            here: Ipv4Addr::new(10, 251, high, low + 1).into(),
            there: Ipv4Addr::new(10, 251, high, low + 2).into(),
        };
        let Neighbour { name, here, there } = &neighbour;
        let cable = format!("es{tag:06x}");
        let outside = format!(
            "netns add {name}\nlink add {cable} type veth peer name eth0 netns {name}\naddr add {here}/30 dev {cable}\nlink set {cable} addrgenmode none up\n"
        );
        tool("ip", &["-batch", "-"], &outside).expect("a neighbour can be made");
        let inside = format!("link set lo up\naddr add {there}/30 dev eth0\nlink set eth0 up\n");
        in_netns(&neighbour.netns(), || tool("ip", &["-batch", "-"], &inside)).expect("the namespace is there").expect("it can be set up");
        neighbour
    }

    pub fn netns(&self) -> PathBuf {
        netns::path_of(&self.name)
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        // The cable goes with the namespace.
        if let Err(error) = netns::delete(std::slice::from_ref(&self.name)) {
            eprintln!("{} could not be removed: {error}", self.name);
        }
    }
}

/// Two hosts with one workload each, `web` on `left` and `db` on `right`, and the agents that see them.
pub struct Pair {
    // In the order in which they go.
    pub agents: Vec<Agent>,
    pub web: Actor,
    pub db: Actor,
    pub server: Server,
    pub lab: Lab,
    pub scene: Scene,
}

impl Pair {
    /// `agents`: which hosts have one, and by how many seconds its clock is wrong. `named_by_address`: hosts that the server's own
    /// rules name.
    pub fn new(traffic: &str, name: &str, delay_us: Option<u32>, agents: &[(&str, i64)], named_by_address: &[(&str, &str)]) -> Pair {
        let scene = Scene::new(name);
        let lab = lab(traffic, &["left", "right"], delay_us);
        let mut spec = ServerSpec::new(&scene, "server");
        let rules = |(host, workload): &(&str, &str)| {
            [at(&lab, host, false, 0), at(&lab, host, true, 0)].map(|address| json!({ "match": { "cidr": cidr(address) }, "workload": workload }))
        };
        spec.more = json!({ "identity": { "rules": named_by_address.iter().flat_map(rules).collect::<Vec<_>>() } });
        let server = Server::start(&scene, spec);
        let actor = |host: &str, name: &str| Actor::start(&scene, traffic, name, Some(&lab.netns(host).expect("the lab has the host")));
        let (web, db) = (actor("left", "web"), actor("right", "db"));
        let start = |&(host, skew_s): &(&str, i64)| {
            let netns = netns_name(&lab, host);
            let workload = if host == "left" { "web" } else { "db" };
            let spec = AgentSpec::new(&scene, &server, &format!("node-{host}"), Place::Namespaces(vec![netns.clone()])).name_netns(&netns, workload);
            Agent::start(&scene, &if skew_s == 0 { spec } else { spec.skewed(skew_s) })
        };
        let mut agents: Vec<Agent> = agents.iter().map(start).collect();
        wait_until_at_work(&server, &mut agents);
        Pair { agents, web, db, server, lab, scene }
    }
}

fn cidr(address: SocketAddr) -> String {
    format!("{}/{}", address.ip(), if address.is_ipv4() { 32 } else { 128 })
}
