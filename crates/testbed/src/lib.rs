//! A small company in network namespaces: services, traffic, faults with known truth.
//!
//! A [`Spec`] (zones, nodes, services, who calls whom) goes in; [`Testbed::start`] turns it into namespaces with routers, real
//! processes that speak HTTP over real TCP, and wires with a known delay. A [`Fault`] (`loss:zone=us-east-1b:clear`) goes in;
//! [`Testbed::inject`] makes it exist and gives its [`Truth`]: what a right diagnosis says and what the fault really did. Out
//! come the services' own counters ([`Witness`]), against which a product's numbers are held. `edgescope demo` shows the
//! product on it; tests use it as ground truth, and [`Lab`] where a few joined namespaces are enough.
//!
//! Nothing here knows the product: it is told names, nodes and zones ([`NodeInfo`]) and never the fault.
//!
//! | part | what it is for |
//! |---|---|
//! | `spec`, `topology` | the company on paper, then with addresses |
//! | `component`, `fault`, `strength`, `truth` | what can break, how, how much, and what follows |
//! | `effect` | the rules, delays and behaviours that make a fault; pure |
//! | `wire`, `netns`, `run` | namespaces, cables and routes; what is left of dead runs |
//! | `relay`, `service`, `child`, `launch` | the processes |
//! | `testbed`, `lab` | the running company; a few namespaces for other tests |

mod child;
pub mod component;
pub mod effect;
pub mod fault;
mod info;
mod lab;
mod launch;
pub mod netns;
pub mod relay;
pub mod run;
pub mod service;
pub mod spec;
pub mod strength;
mod testbed;
pub mod topology;
pub mod truth;
pub mod wire;

pub use child::{child_main, keeper_main, relay_main, service_main};
pub use component::Component;
pub use fault::{Fault, FaultError, Kind, Scope, Strength};
pub use info::{NodeInfo, PodInfo};
pub use lab::{Filter, Lab, LabBuilder};
pub use run::clean;
pub use service::counters::{PeerTotals, PeerWitness, Role, Witness};
pub use spec::{Spec, SpecError};
pub use testbed::{CHILD_KINDS, Options, Testbed, TestbedError, this_executable};
pub use topology::Topology;
pub use truth::Truth;
