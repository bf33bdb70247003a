//! Runtimes of the tests' own are asked: who they name, what they may not do.
#![allow(clippy::unwrap_used)]

use super::fake::{Call, Fake, Reply, http};
use super::*;
use edgescope_identity::runtime::Named;
use prost::Message;
use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

const UID: &str = "1b3c5d7e-0a2b-4c6d-8e0f-123456789abc";

fn id(digit: char) -> String {
    digit.to_string().repeat(64)
}

fn in_pod(container: char) -> Contained {
    let under = UID.replace('-', "_");
    Contained::of(&format!("/kubepods.slice/kubepods-pod{under}.slice/cri-containerd-{}.scope", id(container))).unwrap()
}

fn asker(chosen: &[(&str, &Fake)]) -> (Asker, Arc<Metrics>) {
    let text: Vec<String> = chosen.iter().map(|(runtime, fake)| format!("{runtime}:{}", fake.socket.display())).collect();
    let metrics = Arc::new(Metrics::default());
    (Asker::new(&text.join(",").parse().unwrap(), Arc::clone(&metrics)), metrics)
}

fn name(answer: Answer) -> Named {
    match answer {
        Answer::Named(named) => (*named).clone(),
        other => panic!("{other:?}"),
    }
}

/// A node with one pod: its sandbox is `a`, its container `c`, of which only the state has a readable image.
fn cluster(call: &Call) -> Reply {
    let labels = HashMap::from([("io.kubernetes.pod.name".to_owned(), "cart-7d9f8b6c5d-x2x4z".to_owned())]);
    let image = |image: &str, user_specified_image: &str| {
        Some(cri::ImageSpec { image: image.to_owned(), user_specified_image: user_specified_image.to_owned() })
    };
    match call.path.as_str() {
        "/runtime.v1.RuntimeService/ListContainers" => {
            let filter = call.read::<cri::ListContainersRequest>().filter.unwrap();
            let container = cri::Container {
                id: id('c'),
                pod_sandbox_id: id('a'),
                metadata: Some(cri::ContainerMetadata { name: "app".into() }),
                image: image("sha256:0123", ""),
                labels,
            };
            let fits = filter.id == id('c') || filter.pod_sandbox_id == id('a');
            Ok(cri::ListContainersResponse { containers: if fits { vec![container] } else { Vec::new() } }.encode_to_vec())
        }
        "/runtime.v1.RuntimeService/ContainerStatus" => {
            assert_eq!(call.read::<cri::ContainerStatusRequest>().container_id, id('c'));
            let status = cri::ContainerStatus { id: id('c'), image: image("docker.io/shop/cart:1.2", "") };
            Ok(cri::ContainerStatusResponse { status: Some(status) }.encode_to_vec())
        }
        "/runtime.v1.RuntimeService/ListPodSandbox" => {
            let filter = call.read::<cri::ListPodSandboxRequest>().filter.unwrap();
            let fits = filter.id == id('a') || filter.label_selector.get("io.kubernetes.pod.uid").is_some_and(|uid| uid == UID);
            let metadata = cri::PodSandboxMetadata { name: "cart-7d9f8b6c5d-x2x4z".into(), uid: UID.into(), namespace: "shop".into() };
            let labels = HashMap::from([("pod-template-hash".to_owned(), "7d9f8b6c5d".to_owned())]);
            let older = cri::PodSandbox { id: id('b'), created_at: 1, ..cri::PodSandbox::default() };
            let pod = cri::PodSandbox { id: id('a'), metadata: Some(metadata), created_at: 2, labels };
            Ok(cri::ListPodSandboxResponse { items: if fits { vec![older, pod] } else { Vec::new() } }.encode_to_vec())
        }
        other => panic!("asked for {other}"),
    }
}

#[tokio::test]
async fn cri_names_containers_and_pods_alike() {
    let fake = Fake::grpc(cluster);
    let (mut asker, metrics) = asker(&[("cri", &fake)]);
    let container = name(asker.answer(&in_pod('c')).await);
    let wanted = Named {
        workload: "cart".into(),
        namespace: "shop".into(),
        pod: "cart-7d9f8b6c5d-x2x4z".into(),
        image: "docker.io/shop/cart:1.2".into(),
        pod_uid: UID.into(),
        resolution_type: "cri",
        ..Named::default()
    };
    assert_eq!(container, wanted);
    // What far ends see: the network is the sandbox's, and of a pod alone its uid may be known.
    assert_eq!(name(asker.answer(&in_pod('a')).await), wanted);
    let by_id_alone = Contained::of(&format!("/k8s.io/{}", id('a'))).unwrap();
    assert_eq!(name(asker.answer(&by_id_alone).await), wanted);
    assert_eq!((metrics.total(Total::RuntimeQuestions), metrics.total(Total::RuntimeFailures)), (3, 0));
    let strange = Contained::of(&format!("/system.slice/cri-containerd-{}.scope", id('d'))).unwrap();
    assert_eq!(asker.answer(&strange).await, Answer::Nobody);
}

#[tokio::test]
async fn docker_names_by_service_and_by_name() {
    let labels = r#"{"com.docker.compose.service": "web", "com.docker.compose.project": "blog"}"#;
    let fake = Fake::saying(http(200, &format!(r#"{{"Name": "/blog-web-1", "Config": {{"Image": "nginx:1.25", "Labels": {labels}}}}}"#)));
    let (mut asker, _) = asker(&[("docker", &fake)]);
    let contained = Contained::of(&format!("/system.slice/docker-{}.scope", id('e'))).unwrap();
    let named = name(asker.answer(&contained).await);
    assert_eq!(
        (named.workload.as_str(), named.namespace.as_str(), named.pod.as_str(), named.image.as_str()),
        ("web", "blog", "blog-web-1", "nginx:1.25")
    );
    assert_eq!(fake.paths(), [format!("/containers/{}/json", id('e'))]);
    let gone = Fake::saying(http(404, r#"{"message": "No such container"}"#));
    let (mut asker, metrics) = self::asker(&[("docker", &gone)]);
    assert_eq!((asker.answer(&contained).await, metrics.total(Total::RuntimeFailures)), (Answer::Nobody, 0));
}

#[tokio::test]
async fn one_runtime_after_the_other_is_asked_until_one_knows() {
    let gone = Fake::saying(http(404, "{}"));
    let podman = Fake::saying(http(200, r#"{"Name": "db", "Config": {}}"#));
    let (mut asker, _) = asker(&[("podman", &podman), ("docker", &gone)]);
    let contained = Contained::of(&format!("/docker/{}", id('e'))).unwrap();
    let named = name(asker.answer(&contained).await);
    assert_eq!((named.workload.as_str(), named.resolution_type, gone.paths().len()), ("db", "podman", 1));
}

#[tokio::test]
async fn a_silent_runtime_is_left_alone_for_a_while_and_counted() {
    let fake = Fake::slow_grpc(Duration::from_secs(60), cluster);
    let (mut asker, metrics) = asker(&[("cri", &fake)]);
    let asked = Instant::now();
    assert_eq!(asker.answer(&in_pod('c')).await, Answer::Failed);
    assert!(asked.elapsed() >= CALL_TIMEOUT && asked.elapsed() < 3 * CALL_TIMEOUT, "{:?}", asked.elapsed());
    let again = Instant::now();
    assert_eq!(asker.answer(&in_pod('c')).await, Answer::Failed);
    assert!(again.elapsed() < CALL_TIMEOUT / 2, "asked again at once");
    assert_eq!((fake.paths().len(), metrics.total(Total::RuntimeFailures), metrics.untold()["runtime_failed"]), (1, 1, 1));
}

#[tokio::test]
async fn nonsense_is_counted_and_says_nothing_of_other_containers() {
    let contained = Contained::of(&format!("/docker/{}", id('e'))).unwrap();
    for said in [b"\x00\xff\x00".to_vec(), http(200, "[1, 2"), http(500, "{}"), http(200, &format!(r#"{{"Name": "{}"}}"#, "x".repeat(2 << 20)))] {
        let fake = Fake::saying(said.clone());
        let (mut asker, metrics) = asker(&[("docker", &fake)]);
        for failures in 1..=2 {
            let shown = String::from_utf8_lossy(&said[..said.len().min(60)]).into_owned();
            assert_eq!((asker.answer(&contained).await, metrics.total(Total::RuntimeFailures)), (Answer::Failed, failures), "{shown}");
        }
    }
    let fake = Fake::grpc(|_| Ok(vec![0xff; 40]));
    let (mut asker, metrics) = asker(&[("cri", &fake)]);
    assert_eq!((asker.answer(&in_pod('c')).await, metrics.total(Total::RuntimeFailures)), (Answer::Failed, 1));
    let large = Fake::grpc(|_| {
        Ok(cri::ListContainersResponse { containers: vec![cri::Container { id: "x".repeat(2 << 20), ..Default::default() }] }.encode_to_vec())
    });
    let (mut asker, _) = self::asker(&[("cri", &large)]);
    assert_eq!(asker.answer(&in_pod('c')).await, Answer::Failed);
}

#[tokio::test]
async fn a_socket_that_is_not_there_is_no_failure() {
    let metrics = Arc::new(Metrics::default());
    let mut asker = Asker::new(&"docker:/nowhere/docker.sock,cri:/nowhere/cri.sock".parse().unwrap(), Arc::clone(&metrics));
    let contained = Contained::of(&format!("/docker/{}", id('e'))).unwrap();
    assert_eq!((asker.answer(&contained).await, asker.answer(&in_pod('c')).await), (Answer::Failed, Answer::Failed));
    assert_eq!(metrics.total(Total::RuntimeFailures), 0);
    // One that nobody listens at is.
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("s");
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    let mut asker = Asker::new(&format!("docker:{}", socket.display()).parse().unwrap(), Arc::clone(&metrics));
    assert_eq!((asker.answer(&contained).await, metrics.total(Total::RuntimeFailures)), (Answer::Failed, 1));
}

fn plain_containerd(call: &Call) -> Reply {
    let namespace = |name: &str| containerd::Namespace { name: name.to_owned() };
    match call.path.as_str() {
        "/containerd.services.namespaces.v1.Namespaces/List" => {
            Ok(containerd::ListNamespacesResponse { namespaces: ["default", "k8s.io", "other"].map(namespace).to_vec() }.encode_to_vec())
        }
        "/containerd.services.containers.v1.Containers/Get" => {
            let asked = call.read::<containerd::GetContainerRequest>().id;
            let labels = HashMap::from([("nerdctl/name".to_owned(), "blog".to_owned())]);
            let container = match (call.namespace.as_str(), asked.as_str()) {
                ("default", "hello") => containerd::Container { id: asked, labels: HashMap::new(), image: "docker.io/local/busy:1".into() },
                ("other", _) if asked == id('e') => containerd::Container { id: asked, labels, image: String::new() },
                _ => return Err(5),
            };
            Ok(containerd::GetContainerResponse { container: Some(container) }.encode_to_vec())
        }
        // CRI is turned off.
        _ => Err(12),
    }
}

#[tokio::test]
async fn plain_containerd_names_its_own_containers() {
    let fake = Fake::grpc(plain_containerd);
    let (mut asker, metrics) = asker(&[("cri", &fake), ("containerd", &fake)]);
    let hello = name(asker.answer(&Contained::of("/default/hello").unwrap()).await);
    assert_eq!((hello.workload.as_str(), hello.image.as_str(), hello.resolution_type), ("hello", "docker.io/local/busy:1", "containerd"));
    let nerdctl = Contained::of(&format!("/system.slice/nerdctl-{}.scope", id('e'))).unwrap();
    assert_eq!(name(asker.answer(&nerdctl).await).workload, "blog");
    for path in ["/default/other", "/elsewhere/hello", "/k8s.io/hello"] {
        assert_eq!(asker.answer(&Contained::of(path).unwrap()).await, Answer::Nobody, "{path}");
    }
    assert_eq!(metrics.total(Total::RuntimeFailures), 0, "a language that is not spoken is no failure");
    let gets = fake.calls.lock().unwrap().iter().filter(|call| call.path.ends_with("/Get") && call.namespace == "elsewhere").count();
    assert_eq!(gets, 0, "a namespace that is not there is not asked");
}

#[tokio::test]
async fn ecs_is_asked_where_its_task_says_and_only_of_its_own_container() {
    let labels =
        r#"{"com.amazonaws.ecs.task-definition-family": "checkout", "com.amazonaws.ecs.cluster": "prod", "com.amazonaws.ecs.container-name": "app"}"#;
    let body = format!(r#"{{"DockerId": "{}", "DockerName": "ecs-checkout", "Image": "checkout:3", "Labels": {labels}}}"#, id('e'));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let said = http(200, &body);
    let server = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::io::AsyncReadExt::read(&mut stream, &mut [0; 1_024]).await.unwrap();
            tokio::io::AsyncWriteExt::write_all(&mut stream, &said).await.unwrap();
        }
    });
    let environment = BTreeMap::from([("ECS_CONTAINER_METADATA_URI_V4".to_owned(), "http://169.254.170.2/v4/c0ffee-1".to_owned())]);
    let ask = |digit| {
        let contained = Contained::of(&format!("/ecs/c0ffee/{}", id(digit))).unwrap();
        let environment = environment.clone();
        async move { tasks::ecs(&contained, &environment, address, CALL_TIMEOUT).await }
    };
    let named = ask('e').await.unwrap().unwrap().named().unwrap();
    assert_eq!(
        (named.workload.as_str(), named.namespace.as_str(), named.resolution_type, named.image.as_str()),
        ("checkout", "prod", "ecs", "checkout:3")
    );
    assert!(matches!(ask('f').await, Err(SourceError::Nonsense(_))), "a task that names another's address");
    server.abort();
}

#[tokio::test]
async fn who_is_there_says_what_it_is() {
    let containerd = Fake::grpc(|call| match call.path.as_str() {
        "/runtime.v1.RuntimeService/Version" => {
            Ok(presence::VersionResponse { runtime_name: "containerd".into(), runtime_version: "1.6.20".into() }.encode_to_vec())
        }
        _ => Err(12),
    });
    let docker = Fake::saying(http(200, r#"{"Version": "20.10.24"}"#));
    let sockets = (containerd.socket.display(), docker.socket.display());
    let config = format!("cri:{0},containerd:{0},docker:{1},podman:/nowhere.sock", sockets.0, sockets.1).parse().unwrap();
    let found: Vec<(Runtime, String)> = present(&config).await.into_iter().map(|one| (one.runtime, one.version.unwrap())).collect();
    assert_eq!(found, [(Runtime::Cri, "containerd 1.6.20".to_owned()), (Runtime::Docker, "20.10.24".to_owned())]);
}

#[tokio::test]
async fn the_desk_is_served() {
    let fake = Fake::grpc(cluster);
    let (asker, _) = asker(&[("cri", &fake)]);
    let (desk, questions) = Desk::new();
    let serving = tokio::spawn(asker.serve(Arc::clone(&desk), questions));
    desk.ask([in_pod('c')], Instant::now());
    let waiting = Arc::clone(&desk);
    tokio::task::spawn_blocking(move || waiting.wait(Duration::from_secs(30))).await.unwrap();
    assert_eq!(desk.names(0).unwrap().1[&in_pod('c').path].workload, "cart");
    serving.abort();
}
