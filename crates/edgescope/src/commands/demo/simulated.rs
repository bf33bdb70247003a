//! The same company without a kernel: its conversations are made up by the agents' simulator, and go the real way from there on: real agents in this process, a
//! real server, a real verdict. It shows a newcomer without root or BPF what the product looks like, and proves nothing.

use super::DemoArgs;
use super::parts::{self, Files};
use super::story::Stage;
use crate::config::Config;
use anyhow::{Context, bail};
use chrono::Utc;
use edgescope_agent::sim::{SimEnd, Talk, Weather, World};
use edgescope_agent::source::Area;
use edgescope_agent::{AgentConfig, AgentError};
use edgescope_server::Server;
use edgescope_testbed::strength::{Degree, degree};
use edgescope_testbed::topology::{Conversation, Flow, Pod};
use edgescope_testbed::{Component, Fault, Kind, NodeInfo, PodInfo, Scope, Spec, Topology, Truth};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Round trip of two pods of one node, and what the machine adds to that of others.
const MACHINE_RTT_US: u64 = 100;
/// Connections that a client keeps open to a server.
const KEPT_OPEN: u32 = 2;

/// Everything that runs.
pub struct Simulated {
    http: SocketAddr,
    world: World,
    topology: Topology,
    truth: Option<Truth>,
    agents: JoinSet<(String, Result<(), AgentError>)>,
    end: watch::Sender<bool>,
    server: Server,
    // Goes last.
    files: Files,
}

impl Simulated {
    /// Starts a server and, in this process, an agent for each node.
    pub async fn start(args: &DemoArgs, spec: Spec, http: TcpListener) -> anyhow::Result<Self> {
        let files = Files::new(args.keep.as_deref())?;
        let intake = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("cannot open the intake")?;
        let intake_at = intake.local_addr()?;
        let server = parts::serve(files.path(), http, intake).await?;
        let topology = Topology::new(spec)?;
        let world = World::new(talks(&topology), args.seed);
        let end = watch::Sender::new(false);
        let mut agents = JoinSet::new();
        for node in 0..topology.nodes.len() {
            let config = agent_config(&node_info(&topology, node), &files, intake_at)?;
            let source = world.source(topology.pods_of_node(node).map(|(pod, of)| area(pod, of)).collect());
            let mut asked = end.subscribe();
            agents.spawn(async move {
                let id = config.id.clone();
                let asked = async move {
                    // Fails only if the demo is gone, which asks for the same.
                    let _ = asked.wait_for(|&end| end).await;
                };
                (id, edgescope_agent::run_source(config, source, Arc::default(), asked).await)
            });
        }
        Ok(Self { http: server.http, world, topology, truth: None, agents, end, server, files })
    }
}

impl Stage for Simulated {
    fn http(&self) -> SocketAddr {
        self.http
    }

    fn check(&mut self) -> anyhow::Result<()> {
        match self.agents.try_join_next() {
            None => Ok(()),
            Some(Ok((id, Err(error)))) => Err(error).with_context(|| format!("agent {id} ended")),
            Some(Ok((id, Ok(())))) => bail!("agent {id} ended"),
            Some(Err(failed)) => Err(failed).context("an agent failed"),
        }
    }

    fn inject(&mut self, fault: &Fault, seed: u64) -> anyhow::Result<Truth> {
        let component = fault.resolve(&self.topology, seed)?;
        let weather = weather(fault)?;
        let topology = &self.topology;
        self.world.set_weather(weather, |talk| is_hit(topology, fault.kind, &component, talk));
        let truth = Truth::new(topology, fault, &component, Utc::now());
        self.truth = Some(truth.clone());
        Ok(truth)
    }

    fn truth(&mut self) -> anyhow::Result<Option<Truth>> {
        Ok(self.truth.clone())
    }

    async fn stop(mut self) -> anyhow::Result<()> {
        self.end.send_replace(true);
        let mut failed = None;
        while let Some(ended) = self.agents.join_next().await {
            let (id, result) = ended?;
            failed = failed.or(result.err().map(|error| anyhow::Error::new(error).context(format!("agent {id}"))));
        }
        self.server.stop().await;
        drop(self.files);
        failed.map_or(Ok(()), Err)
    }
}

/// The weather that a fault makes.
///
/// # Errors
/// Names the faults that the simulator cannot play.
pub fn weather(fault: &Fault) -> anyhow::Result<Weather> {
    let calm = Weather::default();
    Ok(match (fault.kind, degree(fault.kind, fault.strength)) {
        // What is lost in the simulator is lost on both ways.
        (Kind::Loss, _) if matches!(fault.scope, Scope::ZonePair | Scope::Edge) => {
            bail!("{fault} needs real packets: the simulator loses segments both ways; choose pod, node, zone or workload, or run as root")
        }
        (_, Degree::DropPer10k(n)) => Weather { loss: f64::from(n) / 10_000.0, ..calm },
        (_, Degree::RttAddedUs(us)) => Weather { delay_us: us.into(), ..calm },
        (Kind::Blackhole, Degree::FlowsPercent(100)) => Weather { loss: 1.0, ..calm },
        (Kind::Refused, Degree::FlowsPercent(100)) => Weather { refused: true, ..calm },
        (_, Degree::DemandPercent(percent)) => Weather { quiet: 1.0 - f64::from(percent) / 100.0, ..calm },
        _ => bail!(
            "{fault} needs real packets: the simulator plays loss, congestion, demand_drop, and blackhole and refused from clear on; choose one of these, or run as root"
        ),
    })
}

/// Whether a fault changes the weather of a talk.
fn is_hit(topology: &Topology, kind: Kind, component: &Component, talk: &Talk) -> bool {
    let (client, server) = (pod_of(&talk.client), pod_of(&talk.server));
    let asks = component.carries(topology, Flow { from: client, to: server });
    let answers = component.carries(topology, Flow { from: server, to: client });
    match kind {
        Kind::Refused | Kind::DemandDrop => asks,
        // On the wires between nodes.
        Kind::Congestion => (asks || answers) && topology.pods[client].node != topology.pods[server].node,
        _ => asks || answers,
    }
}

/// Half of a conversation's requests on connections that are kept, half on new ones.
fn talks(topology: &Topology) -> Vec<Talk> {
    let both = |conversation: Conversation| [0, KEPT_OPEN].map(|kept_open| talk(topology, conversation, kept_open));
    topology.conversations().into_iter().flat_map(both).collect()
}

fn talk(topology: &Topology, of: Conversation, kept_open: u32) -> Talk {
    let call = &topology.calls[of.call];
    let (client, server) = (&topology.pods[of.client], &topology.pods[of.server]);
    let pairs = topology.replicas(&call.from).count() * topology.replicas(&call.to).count();
    let end = |index: usize, pod: &Pod| SimEnd {
        netns: namespace_of(index),
        address: if call.ipv6 { pod.ipv6.into() } else { pod.ipv4.into() },
        process: pod.workload.clone(),
    };
    Talk {
        client: end(of.client, client),
        server: end(of.server, server),
        port: call.port,
        requests_per_s: call.rate_per_s / pairs as f64 / 2.0,
        request_bytes: call.request_bytes.into(),
        response_bytes: topology.spec.service(&call.to).map_or(0, |service| service.response_bytes.into()),
        rtt_us: MACHINE_RTT_US + 2 * u64::from(topology.delay_us(client.node, server.node)),
        kept_open,
    }
}

/// The made-up inode of a pod's namespace; 0 is none.
fn namespace_of(pod: usize) -> u32 {
    u32::try_from(pod + 1).expect("an address plan of 200 × 200 pods fits 32 bits")
}

fn pod_of(end: &SimEnd) -> usize {
    end.netns as usize - 1
}

fn area(index: usize, pod: &Pod) -> Area {
    Area { inode: namespace_of(index), name: Some(pod.name.clone()), addresses: vec![pod.ipv4.into(), pod.ipv6.into()], container: None }
}

fn node_info(topology: &Topology, index: usize) -> NodeInfo {
    let node = &topology.nodes[index];
    let pod = |pod: &Pod| PodInfo {
        name: pod.name.clone(),
        workload: pod.workload.clone(),
        namespace: topology.spec.namespace.clone(),
        netns: pod.name.clone(),
        ips: vec![pod.ipv4.into(), pod.ipv6.into()],
        ports: pod.port.into_iter().collect(),
    };
    NodeInfo {
        name: node.name.clone(),
        zone: topology.spec.zones[node.zone].clone(),
        netns: Default::default(),
        ips: vec![node.ipv4.into(), node.ipv6.into()],
        pods: topology.pods_of_node(index).map(|(_, of)| pod(of)).collect(),
    }
}

fn agent_config(node: &NodeInfo, files: &Files, intake: SocketAddr) -> anyhow::Result<AgentConfig> {
    let home = files.path().join(&node.name);
    let config = parts::agent_config(&format!("simulated-{}", node.name), node, &home, intake);
    Ok(crate::commands::agent::configured(serde_json::from_value::<Config>(config)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shop() -> Topology {
        Topology::new(Spec::built_in("shop").expect("built in")).expect("sound")
    }

    fn hit(text: &str) -> Vec<Talk> {
        let (shop, fault): (Topology, Fault) = (shop(), text.parse().expect(text));
        let component = fault.resolve(&shop, 1).expect(text);
        talks(&shop).into_iter().filter(|talk| is_hit(&shop, fault.kind, &component, talk)).collect()
    }

    #[test]
    fn the_talks_are_the_topology_s_calls() {
        let shop = shop();
        let asked: f64 = talks(&shop).iter().map(|talk| talk.requests_per_s).sum();
        let called: f64 = shop.calls.iter().map(|call| call.rate_per_s).sum();
        assert!((asked - called).abs() < 0.01, "{asked} {called}");
    }

    #[test]
    fn a_fault_hits_what_passes_its_place() {
        let shop = shop();
        let crosses = |talk: &Talk, zone: usize| (shop.pods[pod_of(&talk.client)].zone == zone) != (shop.pods[pod_of(&talk.server)].zone == zone);
        let zone = hit("loss:zone=us-east-1b:clear");
        assert!(!zone.is_empty() && zone.iter().all(|talk| crosses(talk, 1)));
        let edge = hit("refused:edge=frontend>cartservice:clear");
        assert!(edge.iter().all(|talk| talk.client.process == "frontend" && talk.server.process == "cartservice") && !edge.is_empty());
    }

    #[test]
    fn what_the_simulator_cannot_play_is_refused_by_name() {
        for text in ["crash:pod:clear", "slow_service:workload:clear", "slow_reader:pod:clear", "loss:zone_pair:clear", "blackhole:node:weak"] {
            let said = weather(&text.parse().expect(text)).expect_err(text).to_string();
            assert!(said.starts_with(text) && said.contains("needs real packets"), "{said}");
        }
        assert_eq!(weather(&"loss:zone:clear".parse().expect("sound")).expect("played").loss, 0.05);
    }
}
