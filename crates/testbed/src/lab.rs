//! A few namespaces joined by a router: what a test needs that is about packets rather than about a company.

use crate::child::Process;
use crate::effect::DelayRule;
use crate::launch;
use crate::netns::{self, in_netns, tool};
use crate::relay::{RelayCommand, RelayConfig, RelayCounters, RelayEndpoint};
use crate::run::{self, RunDir};
use crate::testbed::TestbedError;
use crate::wire::{self, Plan, RELAY_DEVICE, Space};
use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::process::{Child, Command};

/// Hosts `a`, `b`, …, each a namespace with one interface `eth0`, joined by a router. Dropping it removes everything.
///
/// ```no_run
/// # use edgescope_testbed::{Lab, this_executable};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut lab = Lab::builder(this_executable(&["testbed"])?).host("client").host("server").delay_us(1_000).start()?;
/// let server = lab.ipv4("server")?;
/// let listener = lab.inside("server", || std::net::TcpListener::bind((server, 8080)))??;
/// let dropped = lab.drop_between("client", "server", 500)?;
/// // … talk …
/// println!("{} packets dropped", lab.hits(&dropped)?);
/// # Ok(()) }
/// ```
pub struct Lab {
    hosts: Vec<String>,
    prefix: String,
    filters_made: u32,
    delays: Vec<DelayRule>,
    relay: Option<Process>,
    // Last: namespaces go before the run's lock does.
    keeper: Process,
    run: RunDir,
}

/// A filter on the lab's router, to ask about or to take away.
#[derive(Clone, Debug)]
pub struct Filter(String);

/// What a [`Lab`] is to have.
pub struct LabBuilder {
    command: Vec<OsString>,
    hosts: Vec<String>,
    delay_us: Option<u32>,
}

impl LabBuilder {
    pub fn host(mut self, name: &str) -> LabBuilder {
        self.hosts.push(name.to_string());
        self
    }

    /// One-way delay between any two hosts. Without it there is no relay, and packets pass as fast as the kernel forwards.
    pub fn delay_us(mut self, delay_us: u32) -> LabBuilder {
        self.delay_us = Some(delay_us);
        self
    }

    pub fn start(self) -> Result<Lab, TestbedError> {
        run::clean()?;
        let run = RunDir::create()?;
        let prefix = run.prefix();
        let keeper = launch::keeper(&self.command, &run)?;
        let mut lab = Lab { hosts: self.hosts, prefix, filters_made: 0, delays: Vec::new(), relay: None, keeper, run };
        // From here on the lab's drop removes what was made, also when the next step fails.
        wire::build(&lab.plan(self.delay_us.is_some()))?;
        if let Some(delay_us) = self.delay_us {
            let config = lab.relay_config(delay_us);
            lab.relay = Some(launch::relay(&self.command, &config, &lab.run.path)?.0);
        }
        Ok(lab)
    }
}

impl Lab {
    /// `command` runs [`crate::child_main`] with what is appended, see [`crate::Options::command`].
    pub fn builder(command: Vec<OsString>) -> LabBuilder {
        LabBuilder { command, hosts: Vec::new(), delay_us: None }
    }

    fn plan(&self, has_relay: bool) -> Plan {
        let mut plan = Plan::default();
        plan.spaces.push(Space::new(self.router(), true));
        if has_relay {
            plan.spaces[0].relay_device();
        }
        for (index, name) in self.hosts.iter().enumerate() {
            plan.spaces.push(Space::new(format!("{}{name}", self.prefix), false));
            let (interface, space) = (interface(index), index + 1);
            plan.cable((space, "eth0"), (0, &interface));
            plan.spaces[space].addresses(ipv4(index), ipv6(index), "eth0");
            plan.spaces[space].default_route("eth0", None);
            plan.spaces[0].route_down(&format!("{}/32", ipv4(index)), &format!("{}/128", ipv6(index)), &interface);
            if has_relay {
                plan.spaces[0].relay_from(&interface);
            }
        }
        plan
    }

    fn relay_config(&self, delay_us: u32) -> RelayConfig {
        let hosts = 0..self.hosts.len();
        let endpoint = |i: usize| RelayEndpoint { ips: vec![ipv4(i).into(), ipv6(i).into()], group: i as u16 };
        RelayConfig {
            netns: vec![netns::path_of(&self.router())],
            device: RELAY_DEVICE.to_string(),
            endpoints: hosts.clone().map(endpoint).collect(),
            delays_us: hosts.map(|_| vec![delay_us; self.hosts.len()]).collect(),
            control: launch::relay_socket(&self.run.path),
        }
    }

    fn router(&self) -> String {
        format!("{}router", self.prefix)
    }

    fn index(&self, host: &str) -> Result<usize, TestbedError> {
        self.hosts.iter().position(|h| h == host).ok_or_else(|| TestbedError::NoHost { name: host.to_string(), hosts: self.hosts.join(", ") })
    }

    /// Path of a host's namespace.
    pub fn netns(&self, host: &str) -> Result<PathBuf, TestbedError> {
        self.index(host).map(|i| netns::path_of(&format!("{}{}", self.prefix, self.hosts[i])))
    }

    /// Path of the router's namespace; its interface towards the first host is `host0`.
    pub fn router_netns(&self) -> PathBuf {
        netns::path_of(&self.router())
    }

    pub fn ipv4(&self, host: &str) -> Result<IpAddr, TestbedError> {
        self.index(host).map(|i| ipv4(i).into())
    }

    pub fn ipv6(&self, host: &str) -> Result<IpAddr, TestbedError> {
        self.index(host).map(|i| ipv6(i).into())
    }

    /// Runs `work` in a host's namespace, see [`netns::in_netns`].
    pub fn inside<T: Send>(&self, host: &str, work: impl FnOnce() -> T + Send) -> Result<T, TestbedError> {
        Ok(in_netns(&self.netns(host)?, work)?)
    }

    /// Starts a process in a host's namespace. It is killed with the lab.
    pub fn spawn(&self, host: &str, command: &mut Command) -> Result<Child, TestbedError> {
        Ok(netns::spawn_in(&self.netns(host)?, command)?)
    }

    /// Drops packets from one host to another at random, `per_10k` of ten thousand (10,000: all), on the router.
    pub fn drop_between(&mut self, from: &str, to: &str, per_10k: u32) -> Result<Filter, TestbedError> {
        let from_interface = interface(self.index(from)?);
        let to = self.index(to)?;
        // nftables refuses a comparison that is always true.
        let dice = if per_10k < 10_000 { format!("numgen random mod 10000 < {per_10k}") } else { String::new() };
        let rule = |family: &str, to: String| format!("iifname \"{from_interface}\" {family} daddr {to} {dice} counter name hit drop\n");
        self.filter(&(rule("ip", ipv4(to).to_string()) + &rule("ip6", ipv6(to).to_string())))
    }

    /// Adds nftables rules to the router's forward hook; what they are to count, they say by `counter name hit`.
    pub fn filter(&mut self, rules: &str) -> Result<Filter, TestbedError> {
        self.filters_made += 1;
        let table = format!("lab_{}", self.filters_made);
        let script = format!(
            "table inet {table} {{\n  counter hit {{\n  }}\n  chain forward {{\n    type filter hook forward priority -300; policy accept;\n{rules}\n  }}\n}}\n"
        );
        self.nft(&["-f", "-"], &script)?;
        Ok(Filter(table))
    }

    /// Packets that a filter's counter counted.
    pub fn hits(&self, filter: &Filter) -> Result<u64, TestbedError> {
        let said = self.nft(&["-j", "list", "counters", "table", "inet", &filter.0], "")?;
        crate::testbed::packets(&said, "hit").ok_or_else(|| TestbedError::Counters { router: self.router(), said })
    }

    pub fn remove_filter(&mut self, filter: Filter) -> Result<(), TestbedError> {
        self.nft(&["delete", "table", "inet", &filter.0], "").map(|_| ())
    }

    fn nft(&self, args: &[&str], script: &str) -> Result<String, TestbedError> {
        Ok(in_netns(&self.router_netns(), || tool("nft", args, script))??)
    }

    /// Adds to the delay from one host to another, from now on; needs [`LabBuilder::delay_us`]. Zero takes it back.
    pub fn add_delay(&mut self, from: &str, to: &str, add_us: u32) -> Result<(), TestbedError> {
        let pair = (self.index(from)? as u16, self.index(to)? as u16);
        self.delays.retain(|rule| rule.pairs != [pair]);
        self.delays.push(DelayRule { id: 0, pairs: vec![pair], add_us });
        launch::ask_relay(&self.run.path, &RelayCommand::Delays(self.delays.clone())).map(|_| ())
    }

    /// What the relay counted; groups are hosts in the order they were named.
    pub fn relay_counters(&self) -> Result<RelayCounters, TestbedError> {
        launch::ask_relay(&self.run.path, &RelayCommand::Counters)
    }

    /// Processes whose namespace is one of the lab's.
    pub fn processes(&self) -> Vec<i32> {
        netns::processes_in(&netns::list(&self.prefix))
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.relay = None;
        // A drop cannot fail; the keeper, which takes over when this process lets go of the lock, tries once more.
        let _ = run::remove(&self.run.id);
        self.run.release();
        self.keeper.end();
    }
}

fn interface(host: usize) -> String {
    format!("host{host}")
}

/// Hosts are counted from 1 in the last part of their addresses; a lab has far fewer than 250.
fn ipv4(host: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 99, 0, u8::try_from(host + 1).unwrap_or(u8::MAX))
}

fn ipv6(host: usize) -> Ipv6Addr {
    Ipv6Addr::new(0xfd00, 0xe5, 0x63, 0, 0, 0, 0, u16::try_from(host + 1).unwrap_or(u16::MAX))
}
