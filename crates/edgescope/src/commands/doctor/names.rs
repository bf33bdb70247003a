//! Whom an agent can ask for names here: container runtimes, and the cloud.

use super::{Check, State};
use crate::show;
use edgescope_agent::AgentConfig;
use edgescope_agent::cloud::{self, CloudConfig, CloudError, Told};
use edgescope_agent::runtimes::{Presence, RuntimesConfig, present};
use std::path::Path;

/// Asks, and says what came back. Sockets of this node alone; the cloud only where it is configured by name.
pub fn checks(agent: &AgentConfig) -> anyhow::Result<Vec<Check>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let runtimes = match agent.runtimes {
        RuntimesConfig::Off => Check::new("runtimes", State::Ok, "off (agent.runtimes)", ""),
        _ => runtimes(&runtime.block_on(present(&agent.runtimes))),
    };
    let chosen = agent.cloud.chosen(Path::new("/"));
    let cloud = match (agent.cloud, chosen) {
        (CloudConfig::Auto, chosen) => by_firmware(chosen.map(cloud::Cloud::as_str)),
        (_, None) => Check::new("cloud", State::Ok, "off (agent.cloud)", ""),
        (_, Some(cloud)) => answer(cloud.as_str(), runtime.block_on(cloud::ask_once(cloud))),
    };
    Ok(vec![runtimes, cloud])
}

fn runtimes(present: &[Presence]) -> Check {
    const NAME: &str = "runtimes";
    if present.is_empty() {
        return Check::new(NAME, State::Ok, "none here: names come from units and processes", "");
    }
    let words = |one: &Presence| match &one.version {
        Ok(version) => format!("{} {}: {}", one.runtime.as_str(), one.socket.display(), show::safe(version)),
        Err(error) => format!("{} {}: {}", one.runtime.as_str(), one.socket.display(), show::safe(&error.to_string())),
    };
    let found = present.iter().map(words).collect::<Vec<_>>().join("; ");
    let is_well = present.iter().all(|one| one.version.is_ok());
    let remedy = "see that it runs and that this user may write to its socket; or name those to ask in agent.runtimes: containers that nobody names keep the names of \
                  their processes";
    Check::new(NAME, if is_well { State::Ok } else { State::Reduced }, found, remedy)
}

fn by_firmware(cloud: Option<&str>) -> Check {
    let found = match cloud {
        Some(cloud) => {
            format!("the firmware names {cloud}: an agent asks its metadata for zone and region (agent.cloud: {cloud} has doctor ask, too)")
        }
        None => "the firmware names none: zone and region are what the configuration says".to_owned(),
    };
    Check::new("cloud", State::Ok, found, "")
}

fn answer(cloud: &str, told: Result<Told, CloudError>) -> Check {
    const REMEDY: &str =
        "let this host reach 169.254.169.254 (on AWS: metadata enabled, hop limit 2 or more for containers), or give agent.zone and agent.region";
    match told {
        Ok(Told { name, zone, region }) => Check::new("cloud", State::Ok, format!("{cloud} says: machine {name}, zone {zone}, region {region}"), ""),
        Err(error) => Check::new("cloud", State::Reduced, format!("{cloud} does not answer: {}", show::safe(&error.to_string())), REMEDY),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use edgescope_agent::runtimes::{Runtime, SourceError};

    #[test]
    fn a_runtime_that_does_not_answer_is_told_with_what_is_lost() {
        let presence = |version| Presence { runtime: Runtime::Docker, socket: "/run/docker.sock".into(), version };
        let well = runtimes(&[presence(Ok("20.10\u{1b}[2J".into()))]);
        assert!(
            well.state == State::Ok && well.found.starts_with("docker /run/docker.sock: 20.10") && !well.found.contains('\u{1b}'),
            "{}",
            well.found
        );
        let ill = runtimes(&[presence(Ok("1".into())), presence(Err(SourceError::Unreachable("permission denied".into())))]);
        assert!(ill.state == State::Reduced && ill.found.contains("permission denied") && ill.remedy.is_some());
        assert_eq!(runtimes(&[]).state, State::Ok);
    }

    #[test]
    fn a_cloud_is_a_fault_only_where_it_was_asked_for() {
        assert_eq!(by_firmware(None).state, State::Ok);
        assert!(by_firmware(Some("aws")).found.contains("agent.cloud: aws"));
        assert_eq!(answer("gcp", Err(CloudError::Unreachable("no route".into()))).state, State::Reduced);
        let told = Told { name: "vm".into(), zone: "z".into(), region: "r".into() };
        assert_eq!(answer("gcp", Ok(told)).found, "gcp says: machine vm, zone z, region r");
    }
}
