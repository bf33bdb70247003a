//! How cgroups are laid out, and whether the kubelet and its runtime make them in the same manner. Pure but for reading files below a given root.

use super::{Check, State};
use crate::show;
use edgescope_identity::host;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

/// Largest configuration file looked into, in bytes: containerd's longest default has some 10 KiB.
const FILE_BYTES_MAX: u64 = 256 << 10;
/// Most files of a directory of configuration.
const FILES_MAX: usize = 64;

/// Who makes cgroups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Driver {
    Systemd,
    Cgroupfs,
}

impl Driver {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Systemd => "systemd",
            Self::Cgroupfs => "cgroupfs",
        }
    }

    fn called(name: &str) -> Option<Self> {
        [Self::Systemd, Self::Cgroupfs].into_iter().find(|driver| driver.as_str() == name.trim_matches(['"', '\'']))
    }
}

/// What somebody's configuration says, and where.
#[derive(Debug)]
struct Setting {
    driver: Driver,
    file: PathBuf,
    who: &'static str,
}

/// Both checks of cgroups; `root` is the host's, `/`.
pub fn checks(root: &Path) -> Vec<Check> {
    vec![layout(root), drivers(root)]
}

fn layout(root: &Path) -> Check {
    let top = root.join("sys/fs/cgroup");
    let is_v2 = |path: &Path| path.join("cgroup.controllers").exists();
    let has_v1 = ["memory", "cpu", "systemd", "pids"].iter().any(|name| top.join(name).is_dir());
    let (state, found, remedy) = match (is_v2(&top), is_v2(&top.join("unified")), has_v1) {
        (true, ..) => (State::Ok, "version 2", ""),
        (false, true, _) => (State::Ok, "hybrid: version 1, with version 2 under unified; containers are told by the latter", ""),
        (false, false, true) => (
            State::Reduced,
            "version 1 alone",
            "boot with systemd.unified_cgroup_hierarchy=1: without version 2 UDP, DNS, HTTP and the RTT of every round trip are not seen, and containers on the \
             node's own network are named by their processes",
        ),
        (false, false, false) => {
            (State::Reduced, "no cgroups are mounted below /sys/fs/cgroup", "mount them: containers and units stay without a name")
        }
    };
    Check::new("cgroup layout", state, found, remedy)
}

fn drivers(root: &Path) -> Check {
    const NAME: &str = "cgroup drivers";
    let mixed = mixed(root);
    let (kubelet, runtime) = (kubelet(root), runtime(root));
    let shown = |path: &Path| format!("/{}", path.strip_prefix(root).unwrap_or(path).display());
    let says = |setting: &Setting| format!("{} says {} ({})", setting.who, setting.driver.as_str(), shown(&setting.file));
    let wrong_form = mixed.as_ref().map(|path| format!("a pod's cgroup is called {}", show::safe(path)));
    match (kubelet, runtime) {
        (Some(kubelet), Some(runtime)) if kubelet.driver != runtime.driver => {
            let found = [Some(says(&kubelet)), Some(says(&runtime)), wrong_form].into_iter().flatten().collect::<Vec<_>>().join("; ");
            Check::new(NAME, State::Reduced, found, remedy(&kubelet, &runtime, &shown))
        }
        (kubelet, runtime) => {
            let said: Vec<String> = kubelet.iter().chain(&runtime).map(says).collect();
            let found = if said.is_empty() { "no kubelet here, or none that says".to_owned() } else { said.join("; ") };
            match wrong_form {
                Some(wrong) => Check::new(
                    NAME,
                    State::Reduced,
                    format!("{wrong}: kubelet and runtime did not agree when it was started; {found}"),
                    "make the kubelet's cgroupDriver and the runtime's the same, then restart both and the node's pods: limits of such pods do not hold, and other \
                     tools take them for the runtime's own; Edgescope names them all the same",
                ),
                None => Check::new(NAME, State::Ok, found, ""),
            }
        }
    }
}

fn remedy(kubelet: &Setting, runtime: &Setting, shown: &impl Fn(&Path) -> String) -> String {
    let in_runtime = if runtime.who == "CRI-O" { "cgroup_manager = \"systemd\"" } else { "SystemdCgroup = true" };
    let change = match kubelet.driver {
        Driver::Systemd => format!("set {in_runtime} in {}", shown(&runtime.file)),
        Driver::Cgroupfs => format!("set cgroupDriver: systemd in {}", shown(&kubelet.file)),
    };
    format!(
        "{change}, then drain the node and restart both: until they agree pods do not start, or have cgroups in the wrong form, whose limits do not hold and which \
         other tools take for the runtime's own"
    )
}

/// What the kubelet's flags say, else its file. A kubelet that is not told asks its runtime, or takes cgroupfs, by its version.
fn kubelet(root: &Path) -> Option<Setting> {
    let by_flag = ["var/lib/kubelet/kubeadm-flags.env", "etc/default/kubelet", "etc/sysconfig/kubelet"].into_iter().find_map(|file| {
        let file = root.join(file);
        let driver = flag(&read(&file)?, "--cgroup-driver").and_then(|name| Driver::called(&name))?;
        Some(Setting { driver, file, who: "the kubelet" })
    });
    by_flag.or_else(|| {
        let file = root.join("var/lib/kubelet/config.yaml");
        let text = read(&file)?;
        let driver = text.lines().find_map(|line| Driver::called(without_comment(line.strip_prefix("cgroupDriver:")?)))?;
        Some(Setting { driver, file, who: "the kubelet" })
    })
}

/// What the kubelet's runtime says.
fn runtime(root: &Path) -> Option<Setting> {
    let told = ["var/lib/kubelet/kubeadm-flags.env", "etc/default/kubelet", "etc/sysconfig/kubelet", "var/lib/kubelet/config.yaml"];
    let is_crio = told.iter().filter_map(|file| read(&root.join(file))).any(|text| text.contains("crio.sock"));
    if is_crio { crio(root) } else { containerd(root).or_else(|| crio(root)) }
}

fn containerd(root: &Path) -> Option<Setting> {
    let main = ["var/lib/rancher/k3s/agent/etc/containerd/config.toml", "etc/containerd/config.toml"].into_iter().map(|file| root.join(file));
    let (main, text) = main.into_iter().find_map(|file| Some((file.clone(), read(&file)?)))?;
    // Imported files go over the one that imports them.
    let imported = if text.contains("conf.d") { files(&root.join("etc/containerd/conf.d"), "toml") } else { Vec::new() };
    let by_import = imported.into_iter().rev().find_map(|file| Some((systemd_cgroup(&read(&file)?)?, file)));
    let (is_systemd, file) = by_import.unwrap_or_else(|| (systemd_cgroup(&text).unwrap_or(false), main));
    Some(Setting { driver: if is_systemd { Driver::Systemd } else { Driver::Cgroupfs }, file, who: "containerd" })
}

/// `SystemdCgroup` of the default runtime, or its predecessor for all of them.
fn systemd_cgroup(toml: &str) -> Option<bool> {
    let lines = || toml.lines().map(without_comment);
    let default =
        lines().find_map(|line| value(line, "default_runtime_name")).map_or("runc".to_owned(), |name| name.trim_matches(['"', '\'']).to_owned());
    let mut section = "";
    let mut of_default = None;
    for line in lines() {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']');
        } else if section.replace(['"', '\''], "").ends_with(&format!("runtimes.{default}.options")) {
            of_default = value(line, "SystemdCgroup").or(of_default);
        }
    }
    of_default.or_else(|| lines().find_map(|line| value(line, "systemd_cgroup"))).map(|value| value == "true")
}

fn crio(root: &Path) -> Option<Setting> {
    let main = root.join("etc/crio/crio.conf");
    let all: Vec<PathBuf> =
        std::iter::once(main.clone()).chain(files(&root.join("etc/crio/crio.conf.d"), "conf")).filter(|file| file.exists()).collect();
    let said = all.iter().rev().find_map(|file| {
        let text = read(file)?;
        let driver = text.lines().find_map(|line| Driver::called(value(without_comment(line), "cgroup_manager")?))?;
        Some(Setting { driver, file: file.clone(), who: "CRI-O" })
    });
    // It takes systemd if it is not told.
    said.or_else(|| all.first().map(|file| Setting { driver: Driver::Systemd, file: file.clone(), who: "CRI-O" }))
}

/// A cgroup that is called what systemd should have been told: the kubelet speaks to systemd, its runtime does not.
fn mixed(root: &Path) -> Option<String> {
    let top = root.join("sys/fs/cgroup");
    let trees = ["", "unified", "systemd", "memory"].iter().map(|name| top.join(name)).filter(|tree| tree.join("cgroup.procs").exists());
    let paths = trees.flat_map(|tree| host::cgroups(&tree).found.into_values());
    paths.filter(|path| path.rsplit('/').next().is_some_and(|name| name.contains(".slice:"))).min()
}

fn flag(text: &str, name: &str) -> Option<String> {
    let rest = &text[text.find(name)? + name.len()..];
    let value = rest.trim_start_matches(['=', ' ']).split(|c: char| c.is_whitespace() || c == '"' || c == '\'').next()?;
    Some(value.to_owned())
}

/// The value of `key = value`.
fn value<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    let rest = line.strip_prefix(key)?.trim_start();
    Some(rest.strip_prefix('=')?.trim())
}

fn without_comment(line: &str) -> &str {
    line.split('#').next().unwrap_or_default().trim()
}

fn read(file: &Path) -> Option<String> {
    let mut bytes = Vec::new();
    // What may not be read says nothing, like what is not there.
    File::open(file).ok()?.take(FILE_BYTES_MAX).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// In the order in which they are read.
fn files(directory: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut files: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|found| found == extension)).take(FILES_MAX).collect();
    files.sort();
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    const V2: &str = "[plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.runc.options]\n  SystemdCgroup = ";

    /// A host with these files.
    fn host(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("a temporary directory");
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().expect("below the root")).expect("made");
            fs::write(path, text).expect("written");
        }
        root
    }

    fn found(files: &[(&str, &str)]) -> (State, String, String) {
        let check = drivers(host(files).path());
        (check.state, check.found, check.remedy.unwrap_or_default().into_owned())
    }

    #[test]
    fn the_layouts_are_told_apart() {
        for (file, state, words) in [
            ("sys/fs/cgroup/cgroup.controllers", State::Ok, "version 2"),
            ("sys/fs/cgroup/unified/cgroup.controllers", State::Ok, "hybrid"),
            ("sys/fs/cgroup/memory/cgroup.procs", State::Reduced, "version 1 alone"),
            ("etc/hostname", State::Reduced, "no cgroups"),
        ] {
            let check = layout(host(&[(file, "")]).path());
            assert!(
                check.state == state && check.found.starts_with(words) && check.remedy.is_some() == (state != State::Ok),
                "{file}: {}",
                check.found
            );
        }
    }

    #[test]
    fn drivers_that_differ_are_said_with_the_remedy() {
        let kubelet = ("var/lib/kubelet/config.yaml", "kind: KubeletConfiguration\ncgroupDriver: systemd  # as systemd\n");
        let (state, told, remedy) = found(&[kubelet, ("etc/containerd/config.toml", &format!("version = 2\n{V2}false\n"))]);
        assert_eq!(state, State::Reduced);
        assert_eq!(told, "the kubelet says systemd (/var/lib/kubelet/config.yaml); containerd says cgroupfs (/etc/containerd/config.toml)");
        assert!(remedy.starts_with("set SystemdCgroup = true in /etc/containerd/config.toml, then drain the node"), "{remedy}");
        // The other way.
        let other = ("var/lib/kubelet/kubeadm-flags.env", "KUBELET_KUBEADM_ARGS=\"--cgroup-driver=cgroupfs --x\"\n");
        let (state, _, remedy) = found(&[kubelet, other, ("etc/containerd/config.toml", &format!("{V2}true\n"))]);
        assert!(state == State::Reduced && remedy.starts_with("set cgroupDriver: systemd in /var/lib/kubelet/kubeadm-flags.env"), "{remedy}");
        // A containerd that is not told takes cgroupfs.
        assert_eq!(found(&[kubelet, ("etc/containerd/config.toml", "disabled_plugins = []\n")]).0, State::Reduced);
        let (state, told, remedy) = found(&[kubelet, ("etc/crio/crio.conf.d/02.conf", "[crio.runtime]\ncgroup_manager = \"cgroupfs\"\n")]);
        assert!(state == State::Reduced && told.contains("CRI-O says cgroupfs") && remedy.contains("cgroup_manager"), "{told}");
    }

    #[test]
    fn drivers_that_agree_and_hosts_without_a_kubelet_are_well() {
        let kubelet = ("var/lib/kubelet/config.yaml", "cgroupDriver: \"systemd\"\n");
        for runtime in [
            ("etc/containerd/config.toml", format!("{V2}true\n")),
            (
                "etc/containerd/config.toml",
                "version = 3\n[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]\nSystemdCgroup = true\n".to_owned(),
            ),
            (
                "etc/containerd/config.toml",
                format!(
                    "{V2}false\n[plugins.cri.containerd]\ndefault_runtime_name = \"kata\"\n[plugins.cri.containerd.runtimes.kata.options]\nSystemdCgroup = true\n"
                ),
            ),
            ("etc/containerd/config.toml", "[plugins.cri]\nsystemd_cgroup = true\n".to_owned()),
            ("etc/crio/crio.conf", "[crio]\n".to_owned()),
        ] {
            let (state, told, _) = found(&[kubelet, (runtime.0, &runtime.1)]);
            assert_eq!(state, State::Ok, "{runtime:?}: {told}");
        }
        let imports = "imports = [\"/etc/containerd/conf.d/*.toml\"]\n";
        let (state, told, _) = found(&[kubelet, ("etc/containerd/config.toml", imports), ("etc/containerd/conf.d/10.toml", &format!("{V2}true\n"))]);
        assert!(state == State::Ok && told.contains("conf.d/10.toml"), "{told}");
        assert_eq!(found(&[]).1, "no kubelet here, or none that says");
        assert_eq!(found(&[("etc/containerd/config.toml", "")]).0, State::Ok, "a runtime without a kubelet");
    }

    #[test]
    fn the_tree_shows_what_no_file_says() {
        let pod = "sys/fs/cgroup/system.slice/containerd.service/kubepods-burstable-podx.slice:cri-containerd:0123";
        let (state, told, remedy) = found(&[("sys/fs/cgroup/cgroup.procs", ""), (&format!("{pod}/cgroup.procs"), "")]);
        assert!(
            state == State::Reduced && told.contains("kubepods-burstable-podx.slice:cri-containerd:0123") && remedy.contains("cgroupDriver"),
            "{told}"
        );
        let well = "sys/fs/cgroup/kubepods.slice/kubepods-podx.slice/cri-containerd-0123.scope/cgroup.procs";
        assert_eq!(found(&[("sys/fs/cgroup/cgroup.procs", ""), (well, "")]).0, State::Ok);
    }
}
