//! What tests share.

use edgescope_probe::{Comm, FlowKey, Protocol, Role};

/// A client's flow to `10.0.0.n:80`.
pub fn key(n: u8) -> FlowKey {
    let address = |last| std::net::IpAddr::from([10, 0, 0, last]);
    FlowKey {
        netns: 1,
        cgroup: 2,
        comm: Comm::new("x"),
        local: address(1),
        remote: address(n),
        service_port: 80,
        client_port: 0,
        role: Role::Client,
        role_inferred: false,
        masked: false,
        is_dns: false,
        protocol: Protocol::Tcp,
    }
}
