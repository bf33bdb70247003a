use edgescope_fuzz::{Campaign, Source};
use edgescope_identity::rules::{Rule, Rules, Subject};

const BYTES_MAX: usize = 1000;
/// A rule has 13 optional texts of 24 bytes; `{},` is the shortest, and a list doubles as it grows.
const HEAP_BYTES_MAX: u64 = 64 * 1024 + (BYTES_MAX as u64 / 3) * 13 * 24 * 3;
const WORDS: [&[u8]; 16] = [
    b"{\"match\": {",
    b"\"netns\": \"a\"",
    b"\"cidr\": \"10.0.0.0/8\"",
    b"\"cidr\": \"::/0\"",
    b"\"port\": 65535",
    b"\"port\": 65536",
    b"\"process\": \"sixteen-bytes-ab\"",
    b"\"cgroup\": \"/\"",
    b"\"unit\": \"a.service\"",
    b"}, \"workload\": \"w\"",
    b"\"zone\": null",
    b"\"pod\": \"\"",
    b"}",
    b",",
    b"]",
    b"[",
];

fn generate(source: &mut Source) -> Vec<u8> {
    let rule = |source: &mut Source| {
        let conditions = [
            r#""netns": "cart-1""#,
            r#""cidr": "10.0.0.0/8""#,
            r#""cidr": "2001:db8::/32""#,
            r#""port": 7070"#,
            r#""process": "cart""#,
            r#""cgroup": "/system.slice/""#,
            r#""unit": "cart.service""#,
        ];
        let names = [r#""workload": "w""#, r#""namespace": "n""#, r#""zone": "z""#, r#""pod": """#, r#""region": null"#];
        let some = |source: &mut Source, of: &[&str]| of.iter().filter(|_| source.one_in(3)).copied().collect::<Vec<_>>().join(", ");
        let (when, names) = (some(source, &conditions), some(source, &names));
        let comma = if names.is_empty() { "" } else { ", " };
        format!("{{\"match\": {{{when}}}{comma}{names}}}")
    };
    let all: Vec<String> = (0..source.length(5)).map(|_| rule(source)).collect();
    format!("[{}]", all.join(", ")).into_bytes()
}

#[test]
fn rules() {
    let campaign = Campaign {
        decoder: "rules",
        corpus: vec![br#"[{"match": {"netns": "cart-1", "port": 9}, "workload": "a"}, {"match": {"cidr": "10.0.0.0/8"}, "zone": "b"}]"#.to_vec()],
        heaviest: vec![[&b"["[..], &b"{\"match\":{}},".repeat(70)].concat()],
        dictionary: &WORDS,
        input_bytes_max: BYTES_MAX,
        heap_bytes_max: HEAP_BYTES_MAX,
    };
    campaign.run(generate, |input| {
        let Ok(rules) = serde_json::from_slice::<Vec<Rule>>(input) else { return false };
        let count = rules.len();
        let rules = match Rules::new(rules) {
            Ok(rules) => rules,
            Err(error) => {
                assert!(error.to_string().starts_with("identity.rules[") && !error.to_string().contains('\n'));
                return true;
            }
        };
        let address = "10.1.2.3".parse().unwrap();
        let subject = Subject {
            netns: Some("cart-1"),
            address,
            port: Some(7070),
            process: "cart",
            cgroup: "/system.slice/cart.service",
            unit: Some("cart.service"),
        };
        let far = rules.find_far(address, Some(7070));
        // Whoever names a far end names a local one of that address at least as early.
        assert!(far.is_none() || rules.find(&subject).is_some());
        let mut dims = Default::default();
        far.or(rules.find(&subject)).into_iter().for_each(|rule| rule.apply(&mut dims));
        let _ = rules.name_by_address(Some("cart-1"), address);
        count > 0
    });
}
