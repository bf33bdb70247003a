use edgescope_fuzz::{Campaign, Source};
use edgescope_identity::networks::{HEAP_BYTES_MIN, HEAP_PER_BYTE_MAX, Networks, Source as List};
use std::sync::Arc;

const BYTES_MAX: usize = 1500;
const CORPUS: &str = include_str!("../corpus/lists.txt");
const WORDS: [&[u8]; 30] = [
    b"10.0.0.0/8",
    b"203.0.113.0/24,",
    b"2001:db8::/32",
    b"::/0",
    b"0.0.0.0/0",
    b"255.255.255.255/32",
    b"/33",
    b"/129",
    b"\"\"",
    b"\"",
    b",",
    b"\n",
    b"# ",
    b"- { cidr: ",
    b", label: ",
    b"region: ",
    b"{\"prefixes\": [",
    b"{\"ip_prefix\": \"",
    b"\"ipv6_prefix\": \"",
    b"\"ipv4Prefix\": \"",
    b"\"ipv6Prefix\": \"",
    b"\"service\": \"S3\"",
    b"\"scope\": \"global\"",
    b"{\"values\": [{\"properties\": {\"addressPrefixes\": [",
    b"null",
    b"]}",
    b"\xef\xbb\xbf",
    b"&a [",
    b"*a",
    b"\xff",
];

fn block(source: &mut Source) -> String {
    let short = source.below(33);
    match source.below(5) {
        0 | 1 => format!("{}.{}.0.0/{short}", source.below(256), source.below(4)),
        2 => format!("203.0.113.{}", source.below(300)),
        3 => format!("2001:db8:{:x}::/{}", source.below(16), 32 + source.below(100)),
        _ => format!("{:x}::/{}", source.below(1 << 16), source.below(129)),
    }
}

fn label(source: &mut Source) -> &'static str {
    let all = ["office", "a, b", "S3", "EC2", "AMAZON", "us-east-1", "GLOBAL", "global", "Google Cloud", "", "\u{202e}x", "AzureStorage"];
    *source.pick(&all)
}

fn csv(source: &mut Source) -> String {
    let mut out = if source.one_in(3) { "cidr,label,region\n".to_owned() } else { String::new() };
    for _ in 0..source.length(20) {
        let (block, name) = (block(source), label(source));
        let region = if source.one_in(3) { format!(",{}", label(source)) } else { String::new() };
        out += &if source.one_in(2) { format!("{block},\"{name}\"{region}\n") } else { format!("{block},{name}{region}\n") };
    }
    out
}

fn yaml(source: &mut Source) -> String {
    (0..source.within(1, 10))
        .map(|_| format!("- {{ cidr: '{}', label: '{}', region: '{}' }}\n", block(source), label(source), label(source)))
        .collect()
}

fn json(source: &mut Source) -> String {
    let kind = source.below(3);
    let items: Vec<String> = (0..source.within(1, 8))
        .map(|_| {
            let (block, name, place) = (block(source), label(source), label(source));
            match kind {
                0 => format!(r#"{{"ip_prefix": "{block}", "region": "{place}", "service": "{name}"}}"#),
                1 => format!(r#"{{"ipv4Prefix": "{block}", "service": "{name}", "scope": "{place}"}}"#),
                _ => format!(r#"{{"properties": {{"region": "{place}", "systemService": "{name}", "addressPrefixes": ["{block}", "{block}"]}}}}"#),
            }
        })
        .collect();
    format!(r#"{{"{}": [{}]}}"#, if kind == 2 { "values" } else { "prefixes" }, items.join(", "))
}

#[test]
fn lists() {
    let campaign = Campaign {
        decoder: "lists",
        corpus: CORPUS.split("\n===\n").map(|text| text.as_bytes().to_vec()).collect(),
        heaviest: vec![
            [&b"{\"prefixes\": ["[..], &b"{},".repeat(480)].concat(),
            [&b"{\"values\": [{\"properties\": {\"addressPrefixes\": ["[..], &b"\"\",".repeat(480)].concat(),
            b"1.1.1.1,a\n".repeat(150),
            b"::,a\n".repeat(300),
            b"[".repeat(BYTES_MAX),
            b"- ".repeat(BYTES_MAX / 2),
        ],
        dictionary: &WORDS,
        input_bytes_max: BYTES_MAX,
        heap_bytes_max: (HEAP_BYTES_MIN + BYTES_MAX * HEAP_PER_BYTE_MAX) as u64,
    };
    let generate = |source: &mut Source| match source.below(4) {
        0 | 1 => csv(source).into_bytes(),
        2 => yaml(source).into_bytes(),
        _ => json(source).into_bytes(),
    };
    campaign.run(generate, |input| match List::parse("f", input.to_vec()) {
        Ok(list) => {
            assert!(list.ranges() > 0);
            let networks = Networks::new(vec![Arc::new(list)]);
            for address in ["203.0.113.7", "10.1.2.3", "2001:db8:7::1", "255.255.255.255", "0.0.0.1"].map(|text| text.parse().unwrap()) {
                // A name that is found holds the address that was asked about.
                let found = networks.find(address).named;
                assert!(found.is_none_or(|hit| hit.block.contains(&address) && !hit.name.is_empty()));
            }
            true
        }
        Err(wrong) => {
            let said = wrong.to_string();
            assert!(!said.is_empty() && said.len() < 2 * BYTES_MAX && !said.contains('\n'), "{said:?}");
            false
        }
    });
}
