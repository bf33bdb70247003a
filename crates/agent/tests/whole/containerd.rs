//! A real containerd on this kernel, of the test's own: a pod made over CRI as the kubelet makes them, and a container of containerd's own. Their sockets get the names that
//! containerd gives them.

use crate::kernel::{Lab, greeted, run_while};
use crate::support::{Fake, Life, wait};
use edgescope_agent::AgentConfig;
use edgescope_model::wire::Owner;
use std::collections::HashMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};

const IMAGE: &str = "docker.io/edgescope/empty:1";
const UID: &str = "1b3c5d7e-0a2b-4c6d-8e0f-123456789abc";
/// An x86-64 program that waits for ever, as the pod's first process does: header, one segment, `pause()` in a loop.
const PAUSE: &[u8] = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x3e\0\x01\0\0\0\x78\0\x40\0\0\0\0\0\x40\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x40\0\x38\0\x01\0\0\0\0\0\0\0\
\x01\0\0\0\x05\0\0\0\0\0\0\0\0\0\0\0\0\0\x40\0\0\0\0\0\0\0\x40\0\0\0\0\0\x81\0\0\0\0\0\0\0\x81\0\0\0\0\0\0\0\0\x10\0\0\0\0\0\0\
\xb8\x22\0\0\0\x0f\x05\xeb\xf7";

/// containerd in the lab's namespace a, which is the node's network to its containers.
struct Containerd {
    name: String,
    home: tempfile::TempDir,
    daemon: Child,
}

impl Containerd {
    fn start(lab: &Lab) -> Self {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name).display().to_string();
        let cri = "[plugins.\"io.containerd.grpc.v1.cri\"]\nsandbox_image = \"docker.io/edgescope/empty:1\"\ndisable_apparmor = true\nrestrict_oom_score_adj = true\n\
                   [plugins.\"io.containerd.grpc.v1.cri\".containerd]\nsnapshotter = \"native\"\n";
        let config = format!("version = 2\nroot = {:?}\nstate = {:?}\n[grpc]\naddress = {:?}\n{cri}", at("root"), at("state"), at("c.sock"));
        fs::write(home.path().join("config.toml"), config).unwrap();
        let log = fs::File::create(home.path().join("log")).unwrap();
        // Not `ip netns exec`: that hides the cgroups.
        let daemon = Command::new("nsenter")
            .arg(format!("--net=/run/netns/{}-a", lab.name))
            .args(["containerd", "--config", &at("config.toml")])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        Self { name: lab.name.clone(), home, daemon }
    }

    fn socket(&self) -> PathBuf {
        self.home.path().join("c.sock")
    }

    /// Says what is wrong with the log's last lines.
    fn ctr(&self, arguments: &[&str]) {
        let output = Command::new("ctr").arg("--address").arg(self.socket()).args(arguments).output();
        let output = output.unwrap_or_else(|error| panic!("ctr does not run ({error}): `scripts/setup test` installs it"));
        let log = fs::read_to_string(self.home.path().join("log")).unwrap();
        let last: Vec<&str> = log.lines().rev().take(5).collect();
        assert!(output.status.success(), "ctr {arguments:?}: {}\n{last:#?}", String::from_utf8_lossy(&output.stderr));
    }

    /// An image with nothing but places for the host's programs.
    fn import(&self) {
        let image = self.home.path().join("image");
        let rootfs = image.join("rootfs");
        fs::create_dir_all(rootfs.join("usr")).unwrap();
        for link in ["bin", "lib", "lib64"] {
            std::os::unix::fs::symlink(format!("usr/{link}"), rootfs.join(link)).unwrap();
        }
        fs::write(rootfs.join("pause"), PAUSE).unwrap();
        run(Command::new("chmod").arg("755").arg(rootfs.join("pause")));
        let blobs = image.join("oci/blobs/sha256");
        fs::create_dir_all(&blobs).unwrap();
        let put = |bytes: &[u8]| {
            fs::write(blobs.join("new"), bytes).unwrap();
            let sum = run(Command::new("sha256sum").arg(blobs.join("new")));
            let digest = sum.split_whitespace().next().unwrap().to_owned();
            fs::rename(blobs.join("new"), blobs.join(&digest)).unwrap();
            format!(r#""digest": "sha256:{digest}", "size": {}"#, bytes.len())
        };
        let digest_of = |descriptor: &str| descriptor.split('"').nth(3).unwrap().to_owned();
        run(Command::new("tar").arg("-C").arg(&rootfs).arg("-cf").arg(image.join("layer.tar")).arg("."));
        let layer = put(&fs::read(image.join("layer.tar")).unwrap());
        let rootfs = format!(r#"{{"type": "layers", "diff_ids": ["{}"]}}"#, digest_of(&layer));
        let config = put(format!(r#"{{"architecture": "amd64", "os": "linux", "config": {{"Cmd": ["/pause"]}}, "rootfs": {rootfs}}}"#).as_bytes());
        let kind = |kind: &str, descriptor: &str| format!(r#"{{"mediaType": "application/vnd.oci.image.{kind}", {descriptor}}}"#);
        let (config, layer) = (kind("config.v1+json", &config), kind("layer.v1.tar", &layer));
        let manifest = "application/vnd.oci.image.manifest.v1+json";
        let manifest = put(format!(r#"{{"schemaVersion": 2, "mediaType": "{manifest}", "config": {config}, "layers": [{layer}]}}"#).as_bytes());
        let named = format!(r#"{manifest}, "annotations": {{"io.containerd.image.name": "{IMAGE}"}}"#);
        let index = format!(r#"{{"schemaVersion": 2, "manifests": [{}]}}"#, kind("manifest.v1+json", &named));
        fs::write(image.join("oci/index.json"), index).unwrap();
        fs::write(image.join("oci/oci-layout"), r#"{"imageLayoutVersion": "1.0.0"}"#).unwrap();
        let archive = image.join("image.tar");
        run(Command::new("tar").arg("-C").arg(image.join("oci")).arg("-cf").arg(&archive).arg("."));
        for namespace in [self.name.as_str(), "k8s.io"] {
            self.ctr(&["--namespace", namespace, "image", "import", "--snapshotter", "native", &archive.display().to_string()]);
        }
    }

    async fn channel(&self) -> Channel {
        Endpoint::from_shared(format!("unix://{}", self.socket().display())).unwrap().connect().await.unwrap()
    }
}

impl Drop for Containerd {
    /// Containers, then their shims and the daemon, all of which name the test's own directory; then what they mounted in it, then their cgroups.
    fn drop(&mut self) {
        let home = self.home.path().display().to_string();
        let in_cgroups = files_called("cgroup.procs", &cgroups_of(&self.name)).into_iter().map(|procs| fs::read_to_string(procs).unwrap_or_default());
        let mut processes: Vec<String> = in_cgroups.flat_map(|listed| listed.lines().map(str::to_owned).collect::<Vec<_>>()).collect();
        let all = fs::read_dir("/proc").unwrap().flatten().filter(|entry| entry.file_name().as_encoded_bytes().iter().all(u8::is_ascii_digit));
        let ours = all.filter(|entry| fs::read(entry.path().join("cmdline")).is_ok_and(|line| String::from_utf8_lossy(&line).contains(&home)));
        processes.extend(ours.map(|entry| entry.file_name().to_string_lossy().into_owned()));
        for process in processes {
            drop(Command::new("kill").args(["-9", &process]).status());
        }
        drop(self.daemon.wait());
        for mount in
            fs::read_to_string("/proc/self/mounts").unwrap().lines().filter_map(|line| line.split(' ').nth(1)).filter(|at| at.starts_with(&home))
        {
            drop(Command::new("umount").args(["-l", mount]).status());
        }
        for top in cgroups_of(&self.name) {
            let mut below = directories(&top);
            below.sort_by_key(|path| std::cmp::Reverse(path.components().count()));
            below.iter().for_each(|path| remove_when_empty(path));
        }
    }
}

/// A cgroup is busy for the moment in which its last process is reaped.
fn remove_when_empty(cgroup: &Path) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(5);
    while fs::remove_dir(cgroup).is_err() && cgroup.exists() && std::time::Instant::now() < deadline {
        std::thread::yield_now();
    }
}

/// The test's own cgroup in every hierarchy.
fn cgroups_of(name: &str) -> Vec<PathBuf> {
    let trees = fs::read_dir("/sys/fs/cgroup").unwrap().flatten().map(|entry| entry.path());
    trees.chain([PathBuf::from("/sys/fs/cgroup")]).map(|tree| tree.join(name)).filter(|path| path.is_dir()).collect()
}

fn directories(top: &Path) -> Vec<PathBuf> {
    let mut all = vec![top.to_owned()];
    let mut at = 0;
    while at < all.len() {
        all.extend(fs::read_dir(&all[at]).into_iter().flatten().flatten().map(|entry| entry.path()).filter(|path| path.is_dir()));
        at += 1;
    }
    all
}

fn files_called(name: &str, tops: &[PathBuf]) -> Vec<PathBuf> {
    tops.iter().flat_map(|top| directories(top)).map(|directory| directory.join(name)).collect()
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// What asks a server for 1,000 bytes again and again, in the shell.
fn client(server: SocketAddr) -> String {
    let (ip, port) = (server.ip(), server.port());
    format!("exec 3<>/dev/tcp/{ip}/{port}; while head -c 100 /dev/zero >&3 && head -c 1000 <&3 >/dev/null; do sleep 0.2; done")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_containerd_names_its_pods_and_its_own_containers() {
    let lab = Lab::new();
    let containerd = Containerd::start(&lab);
    wait(|| containerd.socket().exists()).await;
    containerd.import();
    let fake = Fake::default();
    let life = Life::begin(&fake, None, None).await;
    let runtimes = format!("cri:{0},containerd:{0}", containerd.socket().display()).parse().unwrap();
    let config = AgentConfig { runtimes, ..lab.config(&life, vec![lab.rule("b", None, "db")]) };
    let server: SocketAddr = "10.77.0.2:7001".parse().unwrap();
    lab.serve(server, 100, 1_000);
    run_while(&config, async {
        greeted(&fake, 1).await;
        start_pod(&containerd, &client(server)).await;
        let mount = "type=bind,src=/usr,dst=/usr,options=rbind:ro";
        let plain = ["--namespace", &lab.name, "run", "-d", "--net-host", "--snapshotter", "native", "--mount", mount, IMAGE, "hello"];
        let command = client(server);
        containerd.ctr(&[&plain[..], &["/bin/bash", "-c", &command]].concat());
        let owner = |workload: &str| -> Option<Owner> {
            let book = fake.book();
            let mut spoken = book.batches.iter().flat_map(|batch| batch.observations.iter().map(|seen| &batch.owners[seen.owner as usize]));
            spoken.find(|owner| owner.workload == workload).cloned()
        };
        wait(|| owner("cart").is_some() && owner("hello").is_some()).await;
        let pod = owner("cart").unwrap();
        let names = [&pod.namespace, &pod.pod, &pod.image, &pod.resolution_type, &pod.pod_uid].map(String::as_str);
        assert_eq!(names, ["shop", "cart-7d9f8b6c5d-x2x4z", IMAGE, "cri", UID]);
        let hello = owner("hello").unwrap();
        let names = [&hello.pod, &hello.image, &hello.resolution_type, &hello.process].map(String::as_str);
        assert_eq!(names, ["hello@n1", IMAGE, "containerd", "bash"]);
    })
    .await;
}

/// As the kubelet does: a sandbox on the node's network, a container in it, both below the pod's cgroup.
async fn start_pod(containerd: &Containerd, command: &str) {
    let label = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let (pod, namespace) = ("cart-7d9f8b6c5d-x2x4z", "shop");
    let labels = HashMap::from([
        label("io.kubernetes.pod.name", pod),
        label("io.kubernetes.pod.namespace", namespace),
        label("io.kubernetes.pod.uid", UID),
        label("pod-template-hash", "7d9f8b6c5d"),
    ]);
    let node = NamespaceOption { network: 2, pid: 1, ipc: 0 };
    let linux = LinuxPodSandboxConfig {
        cgroup_parent: format!("/{}/kubepods/pod{UID}", containerd.name),
        security_context: Some(LinuxSandboxSecurityContext { namespace_options: Some(node) }),
    };
    let metadata = PodSandboxMetadata { name: pod.into(), uid: UID.into(), namespace: namespace.into(), attempt: 0 };
    let sandbox = PodSandboxConfig { metadata: Some(metadata), labels: labels.clone(), linux: Some(linux) };
    let channel = containerd.channel().await;
    let made: Id = call(&channel, "RunPodSandbox", RunPodSandboxRequest { config: Some(sandbox.clone()) }).await;
    let container = ContainerConfig {
        metadata: Some(ContainerMetadata { name: "app".into(), attempt: 0 }),
        image: Some(ImageSpec { image: IMAGE.into() }),
        command: ["/bin/bash", "-c", command].map(str::to_owned).to_vec(),
        mounts: vec![Mount { container_path: "/usr".into(), host_path: "/usr".into(), readonly: true }],
        labels,
    };
    let request = CreateContainerRequest { pod_sandbox_id: made.id, config: Some(container), sandbox_config: Some(sandbox) };
    let made: Id = call(&channel, "CreateContainer", request).await;
    let _: Nothing = call(&channel, "StartContainer", made).await;
}

async fn call<Q: prost::Message + 'static, A: prost::Message + Default + 'static>(channel: &Channel, name: &str, request: Q) -> A {
    let mut client = tonic::client::Grpc::new(channel.clone());
    client.ready().await.unwrap();
    let path: PathAndQuery = format!("/runtime.v1.RuntimeService/{name}").parse().unwrap();
    let codec = tonic_prost::ProstCodec::<Q, A>::default();
    client.unary(tonic::Request::new(request), path, codec).await.unwrap_or_else(|status| panic!("{name}: {status}")).into_inner()
}

#[derive(Clone, PartialEq, prost::Message)]
struct Nothing {}

/// The first field of several messages.
#[derive(Clone, PartialEq, prost::Message)]
struct Id {
    #[prost(string, tag = "1")]
    id: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct RunPodSandboxRequest {
    #[prost(message, optional, tag = "1")]
    config: Option<PodSandboxConfig>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct PodSandboxConfig {
    #[prost(message, optional, tag = "1")]
    metadata: Option<PodSandboxMetadata>,
    #[prost(map = "string, string", tag = "6")]
    labels: HashMap<String, String>,
    #[prost(message, optional, tag = "8")]
    linux: Option<LinuxPodSandboxConfig>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct PodSandboxMetadata {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    uid: String,
    #[prost(string, tag = "3")]
    namespace: String,
    #[prost(uint32, tag = "4")]
    attempt: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
struct LinuxPodSandboxConfig {
    #[prost(string, tag = "1")]
    cgroup_parent: String,
    #[prost(message, optional, tag = "2")]
    security_context: Option<LinuxSandboxSecurityContext>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct LinuxSandboxSecurityContext {
    #[prost(message, optional, tag = "1")]
    namespace_options: Option<NamespaceOption>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct NamespaceOption {
    #[prost(int32, tag = "1")]
    network: i32,
    #[prost(int32, tag = "2")]
    pid: i32,
    #[prost(int32, tag = "3")]
    ipc: i32,
}

#[derive(Clone, PartialEq, prost::Message)]
struct CreateContainerRequest {
    #[prost(string, tag = "1")]
    pod_sandbox_id: String,
    #[prost(message, optional, tag = "2")]
    config: Option<ContainerConfig>,
    #[prost(message, optional, tag = "3")]
    sandbox_config: Option<PodSandboxConfig>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ContainerConfig {
    #[prost(message, optional, tag = "1")]
    metadata: Option<ContainerMetadata>,
    #[prost(message, optional, tag = "2")]
    image: Option<ImageSpec>,
    #[prost(string, repeated, tag = "3")]
    command: Vec<String>,
    #[prost(message, repeated, tag = "7")]
    mounts: Vec<Mount>,
    #[prost(map = "string, string", tag = "9")]
    labels: HashMap<String, String>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ContainerMetadata {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(uint32, tag = "2")]
    attempt: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ImageSpec {
    #[prost(string, tag = "1")]
    image: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Mount {
    #[prost(string, tag = "1")]
    container_path: String,
    #[prost(string, tag = "2")]
    host_path: String,
    #[prost(bool, tag = "3")]
    readonly: bool,
}
