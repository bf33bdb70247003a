//! `edgescope doctor`: what this host offers, what is missing, and what to do.

mod cgroups;
mod names;

use crate::config::Config;
use crate::show;
use clap::Args;
use edgescope_agent::nat::{Tracking, tracking};
use edgescope_probe::{HookState, HookStatus, KernelReport, ProbeError, Tier};
use serde::Serialize;
use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Check this host: kernel, BTF, capabilities, cgroups, container runtimes, what works and what is lost.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  edgescope doctor            what works here, what is lost, what to do about it
  edgescope doctor --json     for scripts
  edgescope doctor --config /etc/edgescope/agent.yaml    with the runtimes and the cloud that an agent is told to ask

Exit code: 0 if an agent can run here, 1 if not.")]
pub struct DoctorArgs {
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// One line of the report.
#[derive(Debug, Serialize)]
struct Check {
    check: &'static str,
    state: State,
    found: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<Cow<'static, str>>,
}

impl Check {
    /// The remedy is said only where something is amiss.
    fn new(check: &'static str, state: State, found: impl Into<String>, remedy: impl Into<Cow<'static, str>>) -> Self {
        Self { check, state, found: found.into(), remedy: (state != State::Ok).then(|| remedy.into()) }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Ok,
    /// An agent runs, with a loss that the remedy names.
    Reduced,
    /// No agent can run.
    Missing,
}

/// Runs the command.
pub fn run(args: &DoctorArgs, config: &Config) -> anyhow::Result<ExitCode> {
    let mut checks = checks(&edgescope_probe::kernel_report());
    checks.push(hooks(edgescope_probe::hook_report()));
    checks.push(translation(tracking()));
    checks.extend(cgroups::checks(Path::new("/")));
    checks.extend(names::checks(&config.agent)?);
    let able = checks.iter().all(|c| c.state != State::Missing);
    if args.json {
        show::out(&(serde_json::to_string_pretty(&serde_json::json!({ "able": able, "checks": checks }))? + "\n"))?;
    } else {
        show::out(&as_text(&checks, able))?;
    }
    Ok(if able { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn as_text(checks: &[Check], able: bool) -> String {
    let mut out = String::new();
    for check in checks {
        let word = match check.state {
            State::Ok => "ok",
            State::Reduced => "reduced",
            State::Missing => "MISSING",
        };
        out += &format!("{word:<8} {:<14} {}\n", check.check, check.found);
        if let Some(remedy) = &check.remedy {
            out += &format!("{:<8} {:<14} → {remedy}\n", "", "");
        }
    }
    out + if able { "\nan agent can run here\n" } else { "\nno agent can run here until what is MISSING is mended\n" }
}

fn checks(report: &KernelReport) -> Vec<Check> {
    let check = |check, state, found: String, remedy: &'static str| Check::new(check, state, found, remedy);
    let kernel = match report.tier {
        Tier::Full => State::Ok,
        Tier::Basic => State::Reduced,
        Tier::Unsupported => State::Missing,
    };
    let missing = &report.capabilities_missing;
    // CAP_SYS_ADMIN stands for those that were split off from it.
    let admin = report.capabilities_held.contains(&"cap_sys_admin");
    let needed = missing.iter().any(|name| if admin { *name == "cap_net_admin" } else { *name != "cap_sys_admin" });
    let capabilities = match (missing.is_empty(), needed) {
        (true, _) => State::Ok,
        (false, false) => State::Reduced,
        (false, true) => State::Missing,
    };
    let path = |path: &Option<PathBuf>| path.as_ref().map_or_else(|| "not mounted".to_owned(), |p| p.display().to_string());
    let held = if missing.is_empty() { report.capabilities_held.join(", ") } else { format!("lacks {}", missing.join(", ")) };
    vec![
        check(
            "kernel",
            kernel,
            report.release.clone(),
            if kernel == State::Reduced {
                "below 6.12: no RTT samples of connections older than the agent"
            } else {
                "needs Linux 5.12 or later with BTF"
            },
        ),
        check(
            "BTF",
            if report.btf { State::Ok } else { State::Missing },
            if report.btf { "/sys/kernel/btf/vmlinux" } else { "absent" }.to_owned(),
            "use a kernel built with CONFIG_DEBUG_INFO_BTF=y; all current distributions' are",
        ),
        check(
            "capabilities",
            capabilities,
            held,
            if needed {
                "run as root, or grant CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN"
            } else {
                "without CAP_SYS_ADMIN connections older than the agent in other namespaces are not seen"
            },
        ),
        check(
            "naming",
            if report.naming_missing.is_empty() { State::Ok } else { State::Reduced },
            if report.naming_missing.is_empty() {
                "cap_sys_ptrace, cap_dac_read_search".to_owned()
            } else {
                format!("lacks {}", report.naming_missing.join(", "))
            },
            "run as root, or grant CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH: other users' namespaces and cgroups stay without a name",
        ),
        check(
            "cgroup v2",
            if report.cgroup2.is_some() { State::Ok } else { State::Reduced },
            path(&report.cgroup2),
            "mount it: round-trip times are sampled at window ends only without it",
        ),
        check(
            "bpffs",
            State::Ok,
            report.bpffs.as_ref().map_or_else(|| "not mounted yet: the agent mounts it".to_owned(), |p| p.display().to_string()),
            "",
        ),
    ]
}

/// What each hook gives, so what is lost where the kernel refuses it.
fn gives(hook: &str) -> &'static str {
    match hook {
        "on_sockops" => "RTT of every round trip; it is sampled at window ends instead",
        "on_error_report" => "some connection failures by ICMP, which count as timed out or cancelled instead",
        "on_retransmit_synack" => "repeated SYN-ACKs",
        "on_receive_reset" => "resets received",
        "on_send_reset" => "resets sent (why, from Linux 6.10)",
        "on_drop" => "kernel drops by reason, and overflows of accept queues told from other drops (Linux 6.11)",
        "on_egress" => "UDP that is sent, DNS and HTTP (Linux 6.2)",
        "on_ingress" => "UDP that is received, DNS and HTTP (Linux 6.2)",
        "on_bind4" | "on_bind6" => "names of processes that only receive by UDP (Linux 6.2)",
        "on_datagram_drop" => "UDP datagrams dropped at a full queue",
        "count_http2" => "HTTP/2 and gRPC",
        "sweep_questions" => "questions of DNS that get no answer",
        "mark_owner" => "owners of connections older than the agent",
        "mark_socket" => "connections older than the agent",
        _ => "everything",
    }
}

/// Which hooks this kernel refuses, as tried just now.
fn hooks(tried: Result<Vec<HookStatus>, ProbeError>) -> Check {
    let hooks = match tried {
        Ok(hooks) => hooks,
        Err(error) => {
            return Check::new("hooks", State::Missing, error.to_string(), "no agent can load its programs here");
        }
    };
    let refused = hooks.iter().filter_map(|hook| match &hook.state {
        HookState::Refused(reason) => Some(format!("{} ({reason}): without {}", hook.name, gives(hook.name))),
        _ => None,
    });
    let refused: Vec<String> = refused.collect();
    if refused.is_empty() {
        return Check::new("hooks", State::Ok, format!("all {} attach", hooks.len()), "");
    }
    Check::new("hooks", State::Reduced, format!("refused: {}", refused.join("; ")), "an agent runs without them; a newer kernel takes them all")
}

/// Whether the real ends of translated connections can be told.
fn translation(found: Tracking) -> Check {
    let (state, found) = match found {
        Tracking::Absent => (State::Ok, "connection tracking is not loaded: nothing is translated here"),
        Tracking::Heard => (State::Ok, "connection tracking tells of each translated connection"),
        Tracking::Silent => (State::Reduced, "connection tracking sends no news (net.netfilter.nf_conntrack_events is 0)"),
    };
    let remedy =
        "sysctl net.netfilter.nf_conntrack_events=1: without it short connections to services and from masqueraded pods keep their virtual addresses";
    Check::new("translation", state, found, remedy)
}

/// What keeps an agent from running here, in words; empty if nothing does.
#[cfg(feature = "demo")]
pub fn missing() -> Vec<String> {
    checks(&edgescope_probe::kernel_report())
        .into_iter()
        .filter(|c| c.state == State::Missing)
        .map(|c| format!("{} ({})", c.check, c.found))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_capability_and_an_old_kernel_are_told_apart() {
        let mut report = KernelReport {
            release: "6.1.0".into(),
            btf: true,
            tier: Tier::Basic,
            capabilities_held: vec!["cap_bpf"],
            capabilities_missing: vec!["cap_sys_admin"],
            naming_missing: vec!["cap_sys_ptrace"],
            cgroup2: None,
            bpffs: None,
        };
        let states = |report: &KernelReport| checks(report).iter().map(|c| c.state).collect::<Vec<_>>();
        assert_eq!(states(&report), [State::Reduced, State::Ok, State::Reduced, State::Reduced, State::Reduced, State::Ok]);
        report.capabilities_missing.push("cap_net_admin");
        (report.btf, report.tier) = (false, Tier::Unsupported);
        assert_eq!(states(&report)[..3], [State::Missing, State::Missing, State::Missing]);
        (report.capabilities_held, report.capabilities_missing) = (vec!["cap_sys_admin", "cap_net_admin"], vec!["cap_bpf", "cap_perfmon"]);
        assert_eq!(states(&report)[2], State::Reduced, "as the probe sees it");
    }

    #[test]
    fn silent_tracking_is_told_with_what_to_do_and_none_is_no_fault() {
        let silent = translation(Tracking::Silent);
        assert!(silent.state == State::Reduced && silent.remedy.is_some_and(|remedy| remedy.contains("nf_conntrack_events=1")));
        assert!([Tracking::Absent, Tracking::Heard].into_iter().all(|found| translation(found).state == State::Ok));
    }

    #[test]
    fn a_refused_hook_is_told_with_what_is_lost() {
        let status = |name, state| HookStatus { name, state };
        let told = hooks(Ok(vec![status("on_state", HookState::Attached), status("on_drop", HookState::Refused("no such argument".into()))]));
        assert_eq!(told.state, State::Reduced);
        assert!(told.found.contains("on_drop (no such argument): without kernel drops"), "{}", told.found);
        assert_eq!(hooks(Ok(vec![status("on_state", HookState::Attached)])).found, "all 1 attach");
        assert_eq!(hooks(Err(ProbeError::NoBtf { release: "5".into() })).state, State::Missing);
    }
}
